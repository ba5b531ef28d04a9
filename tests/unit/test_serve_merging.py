"""Calls that wait become one batch; every caller hears of its results or its exception."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from search.serve.merging import ITEMS_AT_ONCE, Merger, Overloaded, Stopped


class Gate:
    """A model that doubles numbers, waits to be let through, and notes its batches."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.entered.set()
        assert self.open.wait(5)
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def test_what_arrives_while_a_batch_runs_is_the_next_batch(gate: Gate) -> None:
    merger: Merger[int, int] = Merger(gate)
    first = merger.submit([1])
    assert gate.entered.wait(5)
    others = [merger.submit([i, i + 1]) for i in (10, 20, 30)]
    gate.open.set()
    assert first.result(5) == [2]
    assert [future.result(5) for future in others] == [[20, 22], [40, 42], [60, 62]]
    assert gate.batches == [[1], [10, 11, 20, 21, 30, 31]]
    merger.close()


def test_a_batch_is_bounded(gate: Gate) -> None:
    merger: Merger[int, int] = Merger(gate, max_items=3)
    merger.submit([0])
    assert gate.entered.wait(5)
    futures = [merger.submit([i]) for i in range(1, 6)]
    gate.open.set()
    assert [future.result(5) for future in futures] == [[2], [4], [6], [8], [10]]
    assert [len(batch) for batch in gate.batches] == [1, 3, 2]
    merger.close()


def test_a_failing_item_fails_its_own_caller_only(gate: Gate) -> None:
    merger: Merger[int, int] = Merger(gate)
    merger.submit([0])
    assert gate.entered.wait(5)
    good, bad, late = merger.submit([1]), merger.submit([13]), merger.submit([2])
    gate.open.set()
    assert (good.result(5), late.result(5)) == ([2], [4])
    with pytest.raises(ValueError, match="thirteen"):
        bad.result(5)
    assert merger.submit([5]).result(5) == [10]
    merger.close()


def test_a_model_that_always_fails_fails_every_caller(gate: Gate) -> None:
    merger: Merger[int, int] = Merger(gate)
    futures = [merger.submit([13]) for _ in range(3)]
    gate.open.set()
    for future in futures:
        with pytest.raises(ValueError, match="thirteen"):
            future.result(5)
    merger.close()


def test_a_short_answer_is_an_error_and_not_someone_elses(gate: Gate) -> None:
    merger: Merger[int, int] = Merger(lambda items: items[1:])
    with pytest.raises(RuntimeError, match="2 results for 3 items"):
        merger.submit([1, 2, 3]).result(5)
    merger.close()


def test_a_full_queue_says_so(gate: Gate) -> None:
    merger: Merger[int, int] = Merger(gate, max_waiting=1)
    merger.submit([0])
    assert gate.entered.wait(5)
    waiting = merger.submit([1])
    with pytest.raises(Overloaded, match="1 calls wait"):
        merger.submit([2])
    gate.open.set()
    assert waiting.result(5) == [2]
    merger.close()


def test_waiting_work_is_bounded_in_bytes(gate: Gate) -> None:
    merger: Merger[int, int] = Merger(gate, max_waiting_bytes=100)
    large = merger.submit([0], size=1000)  # alone, it is taken
    assert gate.entered.wait(5)
    waiting = merger.submit([1], size=60)
    with pytest.raises(Overloaded, match="60 bytes of text wait"):
        merger.submit([2], size=60)
    gate.open.set()
    assert (large.result(5), waiting.result(5)) == ([0], [2])
    assert merger.submit([3], size=60).result(5) == [6]
    merger.close()


def test_work_for_callers_who_left_is_given_up_between_parts(gate: Gate) -> None:
    merger: Merger[int, int] = Merger(gate)
    answer = merger.submit(list(range(20, 20 + 3 * ITEMS_AT_ONCE)))
    assert gate.entered.wait(5)
    answer.abandon()
    gate.open.set()
    with pytest.raises(Stopped, match="left"):
        answer.result(5)
    assert [len(batch) for batch in gate.batches] == [ITEMS_AT_ONCE]
    merger.close()


def test_a_stuck_model_shows_and_does_not_keep_the_service_from_stopping(gate: Gate) -> None:
    merger: Merger[int, int] = Merger(gate)
    assert merger.busy_seconds() == 0
    answer = merger.submit(list(range(20, 20 + 3 * ITEMS_AT_ONCE)))
    assert gate.entered.wait(5)
    time.sleep(0.05)
    assert merger.busy_seconds() >= 0.05
    started = time.monotonic()
    merger.close(seconds=0.1)
    assert time.monotonic() - started < 3
    gate.open.set()
    with pytest.raises(Stopped, match="stopping"):
        answer.result(5)
