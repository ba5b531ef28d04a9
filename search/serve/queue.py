"""One queue before one model: what waits is merged into batches, in fair turns."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from itertools import islice
from typing import Generic

from search.errors import ModelError, Overloaded, Stopped
from search.rerank.provider import in_short, log_fault
from search.serve.caller import Answer, Result
from search.serve.metrics import Metrics, Part
from search.serve.turns import Call, Item, Taken, Turns

AT_LEAST = 4
"""Calls that may wait however long: Weaviate sends as many at once for one query."""
MAX_WAITING_TOKENS = 8_000_000
"""About 32 MB of text; a call that comes alone may have more."""
STUCK_SECONDS = 60.0
CLOSE_SECONDS = 10.0
LOOK_SECONDS = 1.0
STOPPING = "the service is stopping; ask again, or another one"


class FairQueue(Generic[Item, Result]):
    """One thread feeds one model; any number of threads submit.

    No call waits for others to come: an idle model starts at once. Who abandons an answer, or
    leaves, frees its place at once.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        part: Part,
        metrics: Metrics,
        *,
        batch_tokens: int = 16384,
        max_wait: float = math.inf,
    ) -> None:
        """`run` gives one result for each item; a batch has `batch_tokens` at most, or one item.

        A call that would wait for others for more than `max_wait` seconds is refused.
        """
        self._run = run
        self._part: Part = part
        self._max_wait = max_wait
        self._metrics = metrics
        self._changed = threading.Condition()
        self._turns: Turns[Item, Result] = Turns(batch_tokens)
        self._batch: list[Taken[Item, Result]] = []  # the one that is running
        self._batch_since = 0.0
        self._died: BaseException | None = None
        self._closing = self._stopping = False
        self._thread = threading.Thread(target=self._work, name=f"{part} queue", daemon=True)
        self._thread.start()

    def submit(
        self,
        items: Sequence[Item],
        costs: Sequence[int],
        *,
        urgent: bool = False,
        deadline: float = math.inf,
        bounded: bool = True,
    ) -> Answer[Result]:
        """The results of these items, which have so many tokens each.

        Urgent calls go before all others. After `deadline` (of `time.monotonic`) the call ends with
        the results that it has. Raises Overloaded when too much waits already (unless not
        `bounded`), Stopped, and ModelError when nothing will be answered here any more.
        """
        call: Call[Item, Result] = Call(items, costs, deadline, tokens=sum(costs))
        if not items:
            call.answer.finish()
            return call.answer
        with self._changed:
            if self._closing:
                raise Stopped(STOPPING)
            if (fault := self.fault()) is not None:
                raise ModelError(fault)
            if bounded:
                self._check_room(call.tokens)
            self._turns.add(call, urgent=urgent)
            self._count()
            self._changed.notify()
        call.answer.add_done_callback(lambda _: self._forget(call))
        return call.answer

    def result(self, answer: Answer[Result], deadline: float = math.inf) -> list[Result]:
        """Wait for an answer; at the deadline, take what there is of it.

        Raises what the model raised, Stopped when the caller has left, and ModelError when nothing
        is to be expected any more.
        """
        while not answer.done():
            left = deadline - time.monotonic()
            if left <= 0:
                so_far = list(answer.so_far)
                answer.abandon()
                return so_far
            wait([answer], min(LOOK_SECONDS, left))
            if not answer.done() and (fault := self.fault()) is not None:
                answer.abandon()
                raise ModelError(fault)
        return answer.result()

    def seconds_ahead(self, tokens: int = 0) -> float:
        """How long a call of so many tokens would wait for those of others, by the speed so far.

        They take turns: it waits for as much of each as it has itself.
        """
        with self._changed:
            turn = max(tokens, self._turns.budget())
            ahead = sum(min(call.tokens, turn) for call in self._turns.waiting())
            speed = self._turns.speed
            running = speed.seconds(sum(taken.tokens for taken in self._batch))
            elapsed = time.monotonic() - self._batch_since
            return speed.seconds(ahead) + max(0.0, running - elapsed)

    def is_idle(self) -> bool:
        """Whether nothing runs and nobody waits."""
        return not self._batch and not self._turns.waiting()

    def fault(self) -> str | None:
        """Why no answers are to be expected, or None."""
        if self._died is not None:
            return f"the {self._part} has stopped ({in_short(self._died)})"
        seconds = time.monotonic() - self._batch_since if self._batch else 0.0
        if seconds > STUCK_SECONDS:
            return f"the {self._part} has been at one batch for {seconds:.0f} s"
        return None

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Finish what waits, as far as the time allows; what is left fails with Stopped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        self._stopping = True
        self._fail_all(Stopped(STOPPING))

    def _forget(self, call: Call[Item, Result]) -> None:
        """Its answer is final: what it still has here must not count, nor keep its memory."""
        if call.taken < len(call.items):
            with self._changed:
                self._turns.remove(call)
                self._count()

    def _check_room(self, tokens: int) -> None:
        """Raises Overloaded. A few calls are taken however slow the model is."""
        ahead, calls = self.seconds_ahead(tokens), self._turns.waiting()
        if ahead > self._max_wait and len(calls) >= AT_LEAST:
            raise Overloaded(ahead - self._max_wait)
        waiting = sum(call.tokens for call in calls)
        if waiting and waiting + tokens > MAX_WAITING_TOKENS:
            raise Overloaded(self._turns.speed.seconds(waiting))

    def _count(self) -> None:
        waiting = sum(len(call.items) - call.taken for call in self._turns.waiting())
        self._metrics.queue_length(waiting, self._part)

    def _work(self) -> None:
        try:
            while self._next():
                self._serve(self._batch)
                self._batch = []
        except BaseException as error:  # noqa: BLE001  # those who wait have to hear of it
            log_fault(f"the {self._part}'s queue has ended", error)
            self._died = error
            self._fail_all(ModelError(self.fault()))

    def _next(self) -> bool:
        """Wait for the batch to run now; False when there will be none any more."""
        with self._changed:
            while not self._stopping:
                if batch := self._turns.next_batch():
                    self._batch_since = time.monotonic()
                    self._batch = batch
                    self._count()
                    self._note_start(batch)
                    return True
                self._count()
                if self._closing:
                    return False
                self._changed.wait()
        return False

    def _serve(self, batch: Sequence[Taken[Item, Result]]) -> None:
        """Every caller gets its results or an exception; a bad item fails only its own caller."""
        items = [item for taken in batch for item in taken.items]
        started = time.monotonic()
        try:
            results = iter(self._results(items))
        except Exception as error:  # noqa: BLE001  # whatever it is, the callers have to hear of it
            if len(batch) == 1:
                batch[0].call.answer.fail(error)
                return
            for taken in batch:
                self._serve([taken])
            return
        self._turns.speed.note(sum(taken.tokens for taken in batch), time.monotonic() - started)
        for call, its, _ in batch:
            call.answer.so_far += islice(results, len(its))
            if len(call.answer.so_far) == len(call.items):
                call.answer.finish()

    def _results(self, items: list[Item]) -> Sequence[Result]:
        results = self._run(items)
        if len(results) != len(items):
            raise RuntimeError(f"the model gave {len(results)} results for {len(items)} items")
        return results

    def _fail_all(self, error: Exception) -> None:
        with self._changed:
            calls = [taken.call for taken in self._batch] + self._turns.waiting()
        for call in calls:
            call.answer.fail(error)

    def _note_start(self, batch: Sequence[Taken[Item, Result]]) -> None:
        tokens, count = sum(taken.tokens for taken in batch), sum(len(t.items) for t in batch)
        self._metrics.batch(tokens, self._turns.budget(), count, self._part)
        for call, items, _ in batch:
            if call.taken == len(items):  # these are its first ones
                self._metrics.waited(self._batch_since - call.since, self._part)
