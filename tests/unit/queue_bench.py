"""A queue before a stand-in model, whose batches are seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from search.serve.caller import Answer, Caller, current_caller
from search.serve.metrics import Metrics
from search.serve.queue import FairQueue
from search.serve.turns import MIN_BATCH_TOKENS

COST = MIN_BATCH_TOKENS // 4
"""Of an item, where a batch of a model whose speed is not known has four."""


class Model:
    """Doubles numbers, waits to be let through, and notes its batches. 13 is a fault."""

    def __init__(self, *, open: bool = False) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []
        if open:
            self.open.set()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.entered.set()
        assert self.open.wait(10)
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]


class Reader:
    """Takes a millisecond for each item."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        time.sleep(0.001 * len(items))
        return items

    @property
    def read(self) -> list[int]:
        return [item for batch in self.batches for item in batch]


@contextmanager
def queue_of(
    model: Callable[[list[int]], Sequence[int]], **options: float
) -> Iterator[FairQueue[int, int]]:
    queue: FairQueue[int, int] = FairQueue(model, "reranker", Metrics(), **options)  # type: ignore[arg-type]
    try:
        yield queue
    finally:
        if isinstance(model, Model):
            model.open.set()
        queue.close(5)


def submit(queue: FairQueue[int, int], items: Sequence[int], cost: int = COST) -> Answer[int]:
    return queue.submit(items, [cost] * len(items))


def hold(model: Model, queue: FairQueue[int, int]) -> Answer[int]:
    """Let the model be busy with one item: what comes now has to wait."""
    first = submit(queue, [0])
    assert model.entered.wait(5)
    return first


@contextmanager
def calling(caller: Caller) -> Iterator[Caller]:
    token = current_caller.set(caller)
    try:
        yield caller
    finally:
        current_caller.reset(token)
