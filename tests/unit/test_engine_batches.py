from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from search.engine.batches import make_batches

LENGTHS = st.lists(st.integers(1, 600), max_size=80)


@given(LENGTHS, st.integers(1, 2000), st.floats(0, 1))
def test_every_index_once_longest_first_within_budget(
    lengths: list[int], budget: int, max_padding: float
) -> None:
    batches = make_batches(lengths, budget, max_padding)
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[i] for i in order] == sorted(lengths, reverse=True)
    for batch in batches:
        sizes = [lengths[i] for i in batch]
        padded = max(sizes) * len(sizes)
        assert len(batch) == 1 or padded <= budget
        assert padded - sum(sizes) <= max_padding * padded


def test_a_batch_is_as_full_as_the_budget_allows() -> None:
    assert make_batches([10, 10, 10, 10, 10], budget=20) == [[0, 1], [2, 3], [4]]


def test_a_sequence_over_the_budget_goes_alone() -> None:
    assert make_batches([5, 100, 5], budget=10) == [[1], [0, 2]]


def test_less_padding_means_more_batches() -> None:
    lengths = [100, 90, 20, 10]
    assert make_batches(lengths, 1000) == [[0, 1, 2, 3]]
    assert make_batches(lengths, 1000, max_padding=0.1) == [[0, 1], [2], [3]]
