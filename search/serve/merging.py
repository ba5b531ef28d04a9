"""Parallel calls into one batch: a model is fastest when it gets all the work that waits."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from search.errors import SearchError

Item = TypeVar("Item")
Result = TypeVar("Result")


# Between parts of this many items a batch can be given up, when its callers left or it is stopped.
ITEMS_AT_ONCE = 64
CLOSE_SECONDS = 10


class Overloaded(SearchError):
    """More work waits than the service takes on."""


class Stopped(SearchError):
    """The service stopped before this work was done."""


class Answer(Future[list[Result]]):
    """One caller's results; who no longer waits for them abandons them."""

    def __init__(self) -> None:
        super().__init__()
        self.abandoned = False

    def abandon(self) -> None:
        self.abandoned = True
        self.cancel()


@dataclass
class _Call(Generic[Item, Result]):
    """One caller's items, and where its results or its exception go."""

    items: Sequence[Item]
    size: int
    future: Answer[Result] = field(default_factory=Answer)


class Merger(Generic[Item, Result]):
    """One thread feeds one model: what arrives while a batch runs becomes the next batch.

    No call waits for others to come: an idle model starts at once.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        max_items: int = 256,
        max_waiting: int = 2048,
        max_waiting_bytes: int = 32_000_000,
    ) -> None:
        """`run` gives one result for each item; a batch has at most `max_items`, or one call's."""
        self._run = run
        self._max_items = max_items
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._busy_since: float | None = None
        self._calls: queue.Queue[_Call[Item, Result] | None] = queue.Queue(max_waiting)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, items: Sequence[Item], size: int = 0) -> Answer[Result]:
        """The results of these items (`size` bytes), in order. Raises Overloaded when full."""
        call: _Call[Item, Result] = _Call(items, size)
        with self._lock:
            waiting = self._waiting_bytes
            if waiting and waiting + size > self._max_waiting_bytes:
                raise self._overloaded(f"{waiting:,} bytes of text wait already")
            try:
                self._calls.put_nowait(call)
            except queue.Full:
                raise self._overloaded(f"{self._calls.maxsize} calls wait already") from None
            self._waiting_bytes += size
        return call.future

    def busy_seconds(self) -> float:
        """How long the batch that is running has been; infinite when the thread has died."""
        if not self._thread.is_alive():
            return float("inf")
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Finish what waits, as far as the time allows; what is left fails with Stopped."""
        deadline = time.monotonic() + seconds
        with suppress(queue.Full):
            self._calls.put(None, timeout=seconds)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self._stopping.set()
        self._thread.join(1.0)

    def _overloaded(self, what: str) -> Overloaded:
        return Overloaded(f"{what}; try again later, or run another service")

    def _work(self) -> None:
        stop = False
        while not (stop or self._stopping.is_set()) and (call := self._calls.get()) is not None:
            batch = [call]
            stop = self._fill(batch)
            with self._lock:
                self._waiting_bytes -= sum(call.size for call in batch)
            self._busy_since = time.monotonic()
            self._serve(batch)
            self._busy_since = None

    def _fill(self, batch: list[_Call[Item, Result]]) -> bool:
        """Add what waits already; whether the word to stop was among it."""
        size = len(batch[0].items)
        while size < self._max_items:
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
            results = self._results([item for call in calls for item in call.items], calls)
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
            call.future.set_result(self._results(list(call.items), [call]))
        except Exception as error:  # noqa: BLE001
            call.future.set_exception(error)

    def _results(self, items: list[Item], calls: Sequence[_Call[Item, Result]]) -> list[Result]:
        results: list[Result] = []
        for start in range(0, len(items), ITEMS_AT_ONCE):
            if self._stopping.is_set():
                raise Stopped("the service is stopping; ask again, or another one")
            if all(call.future.abandoned for call in calls):
                raise Stopped("the caller has left")
            part = items[start : start + ITEMS_AT_ONCE]
            found = list(self._run(part))
            if len(found) != len(part):
                raise RuntimeError(f"the model gave {len(found)} results for {len(part)} items")
            results += found
        return results
