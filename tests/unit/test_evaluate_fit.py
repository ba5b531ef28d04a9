"""The fit finds what made-up judgments were drawn from, and holds sets out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evaluate_data import scored, task
from scipy.special import expit

from search.errors import InputError
from search.evaluate import calibration
from search.evaluate.fit import fit_blend
from search.evaluate.tune import held_out_blends, tune

INFORMATIVE = 3.0
MADE = task(200, seed=4)


def test_an_informative_logit_gets_the_weight() -> None:
    blend = fit_blend([(MADE, scored(MADE, signal=INFORMATIVE))], 20)
    weights = blend.formulas[0].weights
    assert weights.keys() == {"logit", "fused", "cosine"}
    assert weights["logit"] > 0.3
    assert weights["fused"] < weights["logit"] / 3, "the made-up scores say nothing"


def test_a_model_whose_order_is_wrong_is_refused() -> None:
    with pytest.raises(InputError, match="no higher than others"):
        fit_blend([(MADE, scored(MADE, signal=-INFORMATIVE))], 20)


def test_the_fitted_log_odds_are_calibrated() -> None:
    passes = scored(MADE, signal=INFORMATIVE)
    blend = fit_blend([(MADE, passes)], 20)
    log_odds, labels = calibration.outcomes(MADE, passes, 20, blend, min_grade=1)
    assert calibration.measure(expit(log_odds), labels).expected_error < 0.05


def test_there_is_a_formula_for_each_way_to_retrieve() -> None:
    passes = scored(MADE, signal=INFORMATIVE)
    nothing = (None,) * len(passes[0].scores)
    by_words = [replace(p, cosines=nothing, fused=nothing) for p in passes]
    kinds = {tuple(f.weights) for f in fit_blend([(MADE, by_words)], 20).formulas}
    assert {("logit", "bm25"), ("logit",)} <= kinds <= {("logit", "bm25"), ("logit",), ("bm25",)}


def test_probabilities_are_fitted_on_the_fully_judged_set_alone() -> None:
    full = (MADE, scored(MADE, signal=INFORMATIVE))
    sparse_task = replace(
        MADE, name="sparse", qrels={q: dict(list(g.items())[:1]) for q, g in MADE.qrels.items()}
    )
    both = [full, (sparse_task, full[1])]
    one, all_of_them = fit_blend(both, 20, calibrate_on=[full]), fit_blend(both, 20)
    assert one.probability(5.0) > all_of_them.probability(5.0)


def test_each_set_is_judged_by_a_blend_that_has_not_seen_it() -> None:
    good, bad = task(80, seed=5, name="good"), task(80, seed=6, name="bad")
    dev = [(good, scored(good, signal=4.0)), (bad, scored(bad, signal=0.5))]
    for_good, for_bad = held_out_blends(dev, 20, min_grade=1)
    assert for_good == fit_blend(dev[1:], 20)
    assert for_bad == fit_blend(dev[:1], 20)
    rows = tune(dev, [for_good, for_bad], (20,), (1.0,), bound=0.0).held_out
    assert [row.name for row in rows] == ["good", "bad"]
    assert rows[1].difference.mean == pytest.approx(rows[1].pipeline - rows[1].first)


def test_a_gate_means_in_tuning_what_it_means_in_the_blend_that_is_written() -> None:
    full = (MADE, scored(MADE, signal=INFORMATIVE))
    sparse = [
        (
            replace(made, name=f"sparse {made.name}",
                qrels={q: dict(list(g.items())[:1]) for q, g in made.qrels.items()}),
            scored(made, signal=INFORMATIVE),
        )
        for made in (task(80, seed=5, name="a"), task(80, seed=6, name="b"))
    ]  # fmt: skip
    dev = [full, *sparse]
    written = fit_blend(dev, 20, calibrate_on=[full]).first_stage(fused=0.9, cosine=0.7, bm25=9.0)
    for blend in held_out_blends(dev, 20, 1, [full]):
        found = blend.first_stage(fused=0.9, cosine=0.7, bm25=9.0)
        assert found == pytest.approx(written, abs=0.3)


def test_without_a_relevant_candidate_there_is_nothing_to_fit() -> None:
    empty = replace(MADE, qrels={q: {"elsewhere": 1} for q in MADE.qrels})
    with pytest.raises(InputError, match="no query has a relevant candidate"):
        fit_blend([(empty, scored(MADE))], 20)
