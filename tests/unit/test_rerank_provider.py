"""One load for any number of threads, and patience after a failure."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from fakes import TableReranker

from search.errors import CheckpointError, ModelError
from search.rerank import Blend
from search.rerank.provider import FIRST_WAIT, LONGEST_WAIT, RerankerProvider

RERANKER = TableReranker({}, Blend())


def test_many_threads_share_one_load() -> None:
    loads: list[int] = []
    all_ask = threading.Barrier(8)

    def load() -> TableReranker:
        loads.append(1)
        return RERANKER

    provider = RerankerProvider(load)

    def ask(_: int) -> object:
        all_ask.wait(10)
        return provider.get()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [RERANKER] * 8
    assert len(loads) == 1


def test_a_failed_load_is_tried_again_only_after_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    loads: list[float] = []

    def load() -> TableReranker:
        loads.append(now)
        raise CheckpointError("model.safetensors is missing")

    provider = RerankerProvider(load, clock=lambda: now)
    with pytest.raises(ModelError, match=r"^model.safetensors is missing$"):
        provider.get()
    with pytest.raises(ModelError, match="is missing; the next try is in 5 s"):
        provider.get()
    assert loads == [0.0]
    for _ in range(20):
        now += LONGEST_WAIT
        with pytest.raises(ModelError):
            provider.get()
    waits = [later - earlier for earlier, later in pairwise(loads)]
    assert len(loads) == 21
    assert min(waits) >= FIRST_WAIT
    assert len(caplog.records) == len(loads)
    assert caplog.records[0].exc_info is None  # its message says all


def test_a_failure_heard_of_for_the_first_time_says_nothing_of_another_try() -> None:
    """A command asks once, after the load that it began has failed; it will not try again."""

    def load() -> TableReranker:
        raise CheckpointError("model.safetensors is missing")

    provider = RerankerProvider(load)
    provider.start()
    provider.close()
    assert provider.ready
    with pytest.raises(ModelError, match=r"^model.safetensors is missing$"):
        provider.get()
    with pytest.raises(ModelError, match="is missing; the next try is in"):
        provider.get()


def test_the_waits_double_up_to_the_longest() -> None:
    now = 0.0
    loads: list[float] = []

    def load() -> TableReranker:
        loads.append(now)
        raise OSError("gone")

    provider = RerankerProvider(load, clock=lambda: now)
    logging.disable()
    try:
        while now < 2000:
            with pytest.raises(ModelError):
                provider.get()
            now += 1
    finally:
        logging.disable(logging.NOTSET)
    waits = [later - earlier for earlier, later in pairwise(loads)]
    assert waits[:6] == [5, 10, 20, 40, 80, 160]
    assert set(waits[6:]) == {LONGEST_WAIT}


def test_after_a_failure_it_can_succeed() -> None:
    now = 0.0
    faults: list[Exception] = [CheckpointError("half copied")]

    def load() -> TableReranker:
        if faults:
            raise faults.pop()
        return RERANKER

    provider = RerankerProvider(load, clock=lambda: now)
    with pytest.raises(ModelError):
        provider.get()
    now = FIRST_WAIT
    assert provider.get() is RERANKER


def test_a_fault_of_a_library_is_named_by_its_class_and_logged_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def load() -> TableReranker:
        raise IndexError("first line\nsecond line")

    with pytest.raises(ModelError, match=r"^IndexError: first line$"):
        RerankerProvider(load).get()
    assert caplog.records[0].exc_info is not None


def test_it_loads_while_others_work_and_is_waited_for_at_most_so_long() -> None:
    go = threading.Event()

    def load() -> TableReranker:
        go.wait(10)
        return RERANKER

    provider = RerankerProvider(load)
    provider.start()
    assert not provider.ready
    with pytest.raises(TimeoutError):
        provider.get(0.01)
    go.set()
    assert provider.get(10) is RERANKER
    provider.close()
