"""Parallel calls into one batch: a model is fastest when it gets all the work that waits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from search.errors import SearchError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Overloaded(SearchError):
    """More work waits than the service takes on."""


@dataclass
class _Call(Generic[Item, Result]):
    """One caller's items, and where its results or its exception go."""

    items: Sequence[Item]
    future: Future[list[Result]] = field(default_factory=Future)


class Merger(Generic[Item, Result]):
    """One thread feeds one model: what arrives while a batch runs becomes the next batch.

    No call waits for others to come: an idle model starts at once.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        most_items: int = 256,
        most_waiting: int = 2048,
    ) -> None:
        """`run` gives one result for each item; a batch has at most `most_items`, or one call's."""
        self._run = run
        self._most_items = most_items
        self._calls: queue.Queue[_Call[Item, Result] | None] = queue.Queue(most_waiting)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, items: Sequence[Item]) -> Future[list[Result]]:
        """The results of these items, in order. Raises Overloaded when the queue is full."""
        call: _Call[Item, Result] = _Call(items)
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            raise Overloaded(
                f"{self._calls.maxsize} calls wait already; try again later, or run another service"
            ) from None
        return call.future

    def close(self) -> None:
        """Finish what waits, then stop."""
        self._calls.put(None)
        self._thread.join()

    def _work(self) -> None:
        stop = False
        while not stop and (call := self._calls.get()) is not None:
            batch = [call]
            stop = self._fill(batch)
            self._serve(batch)

    def _fill(self, batch: list[_Call[Item, Result]]) -> bool:
        """Add what waits already; whether the word to stop was among it."""
        size = len(batch[0].items)
        while size < self._most_items:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return False
            if call is None:
                return True
            batch.append(call)
            size += len(call.items)
        return False

    def _serve(self, batch: Sequence[_Call[Item, Result]]) -> None:
        """Every caller gets its results or an exception; a bad item fails only its own caller."""
        calls = [call for call in batch if call.future.set_running_or_notify_cancel()]
        if not calls:
            return
        try:
            results = self._results([item for call in calls for item in call.items])
        except Exception as error:  # noqa: BLE001  # whatever it is, the callers have to hear of it
            if len(calls) == 1:
                calls[0].future.set_exception(error)
                return
            for call in calls:
                self._alone(call)
            return
        start = 0
        for call in calls:
            call.future.set_result(results[start : start + len(call.items)])
            start += len(call.items)

    def _alone(self, call: _Call[Item, Result]) -> None:
        try:
            call.future.set_result(self._results(list(call.items)))
        except Exception as error:  # noqa: BLE001
            call.future.set_exception(error)

    def _results(self, items: list[Item]) -> list[Result]:
        results = list(self._run(items))
        if len(results) != len(items):
            raise RuntimeError(f"the model gave {len(results)} results for {len(items)} items")
        return results
