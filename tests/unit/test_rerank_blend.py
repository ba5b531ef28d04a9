from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.rerank.blend import ModelSettings, blended_log_odds, min_max, sigmoid
from search.rerank.gate import margin, unsure


def test_min_max_stretches_and_leaves_equal_scores_in_the_middle() -> None:
    assert min_max([2.0, 4.0, 3.0]) == [0.0, 1.0, 0.5]
    assert min_max([7.0, 7.0]) == [0.5, 0.5]
    assert min_max([]) == []


@given(st.floats(-1000, 1000))
def test_sigmoid_is_a_probability_and_symmetric(x: float) -> None:
    assert 0 <= sigmoid(x) <= 1
    assert sigmoid(x) + sigmoid(-x) == pytest.approx(1)


@given(st.floats(-30, 30))
def test_sigmoid_is_undone_by_the_log_odds(x: float) -> None:
    p = sigmoid(x)
    if 0 < p < 1 - 1e-9:
        assert math.log(p / (1 - p)) == pytest.approx(x, rel=1e-4, abs=1e-9)


def test_calibration_is_applied_once() -> None:
    settings = ModelSettings(slope=0.5, intercept=-1.0)
    assert settings.log_odds(4.0) == 1.0
    assert settings.probability(4.0) == pytest.approx(0.7310585786)  # 1 / (1 + 1/e)


def test_the_blend_moves_by_its_weight_from_last_to_first() -> None:
    settings = ModelSettings(slope=2.0, intercept=1.0)
    first = blended_log_odds(3.0, 1.0, settings, weight=4.0)
    last = blended_log_odds(3.0, 0.0, settings, weight=4.0)
    assert (first, last) == (9.0, 5.0)
    assert blended_log_odds(3.0, 1.0, settings, weight=0.0) == settings.log_odds(3.0)


def test_the_margin_is_between_first_and_third_in_any_order() -> None:
    assert margin([0.2, 0.9, 0.5, 0.7]) == pytest.approx(0.4)
    assert margin([0.9, 0.7]) == pytest.approx(0.2)
    assert margin([0.9]) == margin([]) == 0


def test_a_margin_that_reaches_the_threshold_is_sure() -> None:
    scores = [1.0, 0.5, 0.5]
    assert unsure(scores, 0.6)
    assert not unsure(scores, 0.5)
