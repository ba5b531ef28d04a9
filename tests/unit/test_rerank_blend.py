from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.rerank.blend import Blend, Formula, sigmoid
from search.rerank.gate import margin


@given(st.floats(-1000, 1000))
def test_sigmoid_is_a_probability_and_symmetric(x: float) -> None:
    assert 0 <= sigmoid(x) <= 1
    assert sigmoid(x) + sigmoid(-x) == pytest.approx(1)


@given(st.floats(-30, 30))
def test_sigmoid_is_undone_by_the_log_odds(x: float) -> None:
    p = sigmoid(x)
    if 0 < p < 1 - 1e-9:
        assert math.log(p / (1 - p)) == pytest.approx(x, rel=1e-4, abs=1e-9)


BLEND = Blend(
    (
        Formula(-5.0, {"logit": 0.5, "fused": 2.0, "cosine": 4.0}),
        Formula(-4.0, {"logit": 0.5, "fused": 3.0}),
        Formula(-2.0, {"logit": 0.5, "bm25": 1.0}),
        Formula(-1.0, {"logit": 0.5}),
        Formula(-6.0, {"fused": 8.0}),
    ),
    "mine",
)


def test_the_first_formula_whose_inputs_are_known_counts() -> None:
    assert BLEND.log_odds(4.0, fused=1.0, cosine=0.5, bm25=3.0) == -5 + 2 + 2 + 2
    assert BLEND.log_odds(4.0, fused=1.0, bm25=3.0) == -4 + 2 + 3
    assert BLEND.log_odds(4.0, bm25=math.e - 1) == pytest.approx(-2 + 2 + 1)
    assert BLEND.log_odds(4.0, cosine=0.5) == -1 + 2
    assert Blend().log_odds(4.0, fused=1.0) == 4.0


def test_the_first_stage_alone_says_what_it_can() -> None:
    assert BLEND.first_stage(fused=1.0, cosine=0.5) == 2.0
    assert BLEND.first_stage(cosine=0.5) is None
    assert Blend().first_stage(fused=1.0) is None


def test_calibration_is_applied_once() -> None:
    assert BLEND.probability(4.0) == pytest.approx(0.7310585786)  # 1 / (1 + 1/e)


def test_without_its_part_the_first_stage_moves_no_order() -> None:
    alone = BLEND.with_first_stage(0)
    assert alone.log_odds(4.0, fused=1.0, cosine=0.9) == alone.log_odds(4.0, fused=0.0, cosine=0.1)
    assert BLEND.with_first_stage(2).log_odds(4.0, fused=1.0) == -4 + 2 + 6
    assert BLEND.with_first_stage(2).first_stage(fused=1.0) == 2.0


def test_cosines_of_another_embedding_model_do_not_count() -> None:
    assert BLEND.for_embedding("mine") == BLEND
    assert BLEND.for_embedding("other").log_odds(4.0, fused=1.0, cosine=0.5) == -4 + 2 + 3
    assert BLEND.for_embedding(None).log_odds(4.0, fused=1.0, cosine=0.5) == -4 + 2 + 3


def test_the_margin_is_between_first_and_third_in_any_order() -> None:
    assert margin([0.2, 0.9, 0.5, 0.7]) == pytest.approx(0.4)
    assert margin([0.9, 0.7]) == pytest.approx(0.2)
    assert margin([0.9]) == margin([]) == 0
