"""Relative score fusion, worked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.store.fusion import relative_score_fusion

VECTOR = {1: 0.9, 2: 0.7, 3: 0.5}  # scaled: 1, 0.5, 0
BM25 = {3: 12.0, 4: 6.0, 1: 2.0}  # scaled: 1, 0.4, 0


def test_by_hand() -> None:
    fused = relative_score_fusion(VECTOR, BM25, alpha=0.75)
    assert fused == pytest.approx({1: 0.75, 2: 0.375, 3: 0.25, 4: 0.1})
    assert list(fused) == [1, 2, 3, 4]


def test_a_leg_without_weight_takes_no_part() -> None:
    assert list(relative_score_fusion(VECTOR, BM25, alpha=1)) == [1, 2, 3]
    assert list(relative_score_fusion(VECTOR, BM25, alpha=0)) == [3, 4, 1]


def test_equal_scores_count_in_full() -> None:
    assert relative_score_fusion({7: -0.2}, {8: 3.0, 9: 3.0}, 0.5) == {7: 0.5, 8: 0.5, 9: 0.5}


def test_empty_legs() -> None:
    assert relative_score_fusion({}, {}, 0.5) == {}
    assert relative_score_fusion({}, {1: 2.0}, 0.5) == {1: 0.5}


SCORES = st.dictionaries(st.integers(0, 50), st.floats(-1e6, 1e6), max_size=20)


@given(SCORES, SCORES, st.floats(0.01, 0.99))
def test_every_find_is_kept_once_in_falling_order(
    vector: dict[int, float], bm25: dict[int, float], alpha: float
) -> None:
    fused = relative_score_fusion(vector, bm25, alpha)
    scores = list(fused.values())
    assert set(fused) == set(vector) | set(bm25)
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 + 1e-9 for score in scores)
