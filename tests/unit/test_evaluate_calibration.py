"""On data whose probabilities are known, since they were drawn with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluate_data import scored, task
from scipy.special import expit

from search.errors import InputError
from search.evaluate import derive
from search.evaluate.calibration import SHOWN, measure, outcomes, platt
from search.rerank import Blend

RNG = np.random.default_rng(11)
TRUE = RNG.normal(-1, 2, 50_000)  # log-odds
LABELS = (RNG.random(50_000) < expit(TRUE)).astype(np.float64)


def test_true_probabilities_have_no_calibration_error() -> None:
    found = measure(expit(TRUE), LABELS)
    assert found.expected_error < 0.01
    assert all(band.holds for band in found.bands)
    assert found.relevant == pytest.approx(LABELS.mean())
    assert sum(band.documents for band in found.bands) == sum(n for *_, n in found.bins) == 50_000


def test_the_expected_error_by_hand() -> None:
    # One bin, 0.9 predicted and 3 of 4 relevant; another, 0.25 predicted and none relevant.
    found = measure(np.array([0.9] * 4 + [0.25] * 4), np.array([1.0, 1, 1, 0] + [0.0] * 4))
    assert found.expected_error == pytest.approx((0.15 + 0.25) / 2)
    high, medium, low = found.bands
    assert (high.documents, medium.documents, low.documents) == (4, 0, 4)
    assert (high.observed, high.holds) == (0.75, False)
    assert medium.holds, "an empty band breaks no promise"
    assert low.holds


def test_band_limits_are_those_that_search_names() -> None:
    found = measure(np.array([0.8001, 0.8, 0.4, 0.3999, 0.0, 1.0]), np.ones(6))
    assert [band.documents for band in found.bands] == [2, 2, 2]


def test_platt_finds_the_line_that_the_data_were_drawn_from() -> None:
    raw = (TRUE - 0.7) / 0.35  # TRUE = 0.35 · raw + 0.7
    slope, intercept = platt(raw, LABELS)
    assert slope == pytest.approx(0.35, abs=0.01)
    assert intercept == pytest.approx(0.7, abs=0.03)


def test_separable_data_give_finite_values() -> None:
    slope, intercept = platt(np.array([-1.0, -2.0, 3.0, 4.0]), np.array([0.0, 0, 1, 1]))
    assert 0 < slope < 10
    assert np.isfinite(intercept)


def test_a_reversed_model_cannot_be_calibrated() -> None:
    with pytest.raises(InputError, match="score lower than others"):
        platt(-TRUE, LABELS)
    with pytest.raises(InputError, match="0 relevant"):
        platt(TRUE, np.zeros(len(TRUE)))


def test_a_document_is_one_outcome_however_many_passages_it_has() -> None:
    made = task(20, seed=6)
    passes = scored(made)
    log_odds, labels = outcomes(made, passes, 20, Blend(), min_grade=2)
    pages = {row.query_id: derive.reranked(row, 20, Blend())[:SHOWN] for row in passes}
    assert len(log_odds) == sum(len(set(page)) for page in pages.values())
    assert labels.sum() == sum(
        made.qrels[query_id].get(d, 0) >= 2 for query_id, page in pages.items() for d in page
    )


def test_a_set_that_only_says_yes_or_no_keeps_its_yes() -> None:
    graded = task(20, seed=6)
    yes_or_no = replace(
        graded,
        qrels={q: {d: min(g, 1) for d, g in grades.items()} for q, grades in graded.qrels.items()},
    )
    _, labels = outcomes(yes_or_no, scored(graded), 20, Blend(), min_grade=2)
    _, all_positive = outcomes(yes_or_no, scored(graded), 20, Blend(), min_grade=1)
    assert labels.tolist() == all_positive.tolist()
    assert labels.any()
