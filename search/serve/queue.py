"""One queue before one model: what waits is merged into batches, in fair turns.

Work is counted in tokens, which are estimated from the texts' bytes. To tokenize first would take
about a tenth of the model's own time, on the same cores, only to know how long the rest takes. The
model's speed is measured in the same estimated tokens, so that their error cancels.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from search.errors import ModelError, Overloaded, Stopped
from search.rerank.provider import in_short, log_fault
from search.serve.caller import Caller, current_caller
from search.serve.metrics import Metrics, Part

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_SECONDS = 0.1
"""A batch is as large as the model reads in so long: that is what anybody waits for at least."""
MIN_BATCH_TOKENS = 512
AT_LEAST = 4
"""Calls that may wait however long: Weaviate sends as many at once for one query."""
MAX_WAITING_TOKENS = 8_000_000
"""About 32 MB of text; a call that comes alone may have more."""
CAUTION = 0.8
"""The share of the time up to a deadline that a batch is meant to take."""
REMEMBERED = 0.8
"""What each batch leaves of the weight of those before it, where the speed is measured."""
BELIEVED_SECONDS = 1.0
"""A speed that is older than this gives nobody up; the next item that can be late is tried."""
STUCK_SECONDS = 60.0
CLOSE_SECONDS = 10.0
LOOK_SECONDS = 1.0
STOPPING = "the service is stopping; ask again, or another one"


class Answer(Future[list[Result]]):
    """One caller's results, in order; who no longer waits for them abandons it.

    Where a deadline passed there are only as many as were ready. `so_far` has them as they come.
    """

    def __init__(self) -> None:
        super().__init__()
        self.so_far: list[Result] = []

    def abandon(self) -> None:
        """Nobody waits for it any more: what has not begun of it is given up."""
        self.cancel()

    def finish(self) -> None:
        """The results that there are now are the answer."""
        if not self.done() and self.set_running_or_notify_cancel():
            self.set_result(list(self.so_far))

    def fail(self, error: BaseException) -> None:
        """There will be no more results, because of this."""
        if not self.done() and self.set_running_or_notify_cancel():
            self.set_exception(error)


@dataclass(eq=False)
class _Call(Generic[Item, Result]):
    """One caller's items, of which the first `taken` have gone to the model."""

    items: Sequence[Item]
    costs: Sequence[int]
    deadline: float
    caller: Caller | None
    tokens: int  # of the items that still wait
    answer: Answer[Result] = field(default_factory=Answer)
    since: float = field(default_factory=time.monotonic)
    taken: int = 0
    turn: int = 0  # tokens that it may still take before it is the next one's turn

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.answer.done() or (self.caller is not None and self.caller.left.is_set())

    def is_over(self, now: float) -> bool:
        """Whether nobody waits for the rest of it; its answer is final then."""
        if self.caller is not None and self.caller.left.is_set():
            self.answer.fail(Stopped("the caller has left"))
        elif self.deadline <= now:
            self.answer.finish()
        return self.answer.done()

    def take(self, room: float, *, first: bool) -> _Taken[Item, Result]:
        """The next items, of at most `room` tokens; the `first` of a batch may be larger."""
        start, tokens = self.taken, 0
        while self.taken < len(self.items):
            cost = self.costs[self.taken]
            if tokens + cost > min(room, self.turn) and not (first and self.taken == start):
                break
            tokens += cost
            self.taken += 1
        self.tokens -= tokens
        self.turn -= tokens
        return _Taken(self, self.items[start : self.taken], tokens)


class _Taken(NamedTuple, Generic[Item, Result]):
    """Items of one call that are in a batch together."""

    call: _Call[Item, Result]
    items: Sequence[Item]
    tokens: int


_Lane = deque[_Call[Item, Result]]


class FairQueue(Generic[Item, Result]):
    """One thread feeds one model; any number of threads submit.

    Calls take turns at the model, each turn as large as a batch, and a batch is filled up with the
    next one's turn; every other batch begins with calls that are new. So one of 1,000 items does
    not hold up one of ten, and many small ones share a batch. No call waits for others to come: an
    idle model starts at once.
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
        self._largest = batch_tokens
        self._max_wait = max_wait
        self._metrics = metrics
        self._speed = _Speed()
        self._changed = threading.Condition()
        self._urgent: _Lane[Item, Result] = deque()
        self._new: _Lane[Item, Result] = deque()
        self._begun: _Lane[Item, Result] = deque()
        self._begun_next = False
        self._batch: list[_Taken[Item, Result]] = []  # the one that is running
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
        call: _Call[Item, Result] = _Call(
            items, costs, deadline, current_caller.get(), tokens=sum(costs)
        )
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
            (self._urgent if urgent else self._new).append(call)
            self._count()
            self._changed.notify()
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
            turn = max(tokens, self._budget())
            ahead = sum(min(call.tokens, turn) for call in self._waiting())
            running = self._speed.seconds(sum(taken.tokens for taken in self._batch))
            elapsed = time.monotonic() - self._batch_since
            return self._speed.seconds(ahead) + max(0.0, running - elapsed)

    def is_idle(self) -> bool:
        """Whether nothing runs and nobody waits."""
        return not self._batch and not self._waiting()

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

    def _waiting(self) -> list[_Call[Item, Result]]:
        calls = (*self._urgent, *self._new, *self._begun)
        return [call for call in calls if not call.is_abandoned]

    def _check_room(self, tokens: int) -> None:
        """Raises Overloaded. A few calls are taken however slow the model is."""
        ahead, calls = self.seconds_ahead(tokens), self._waiting()
        if ahead > self._max_wait and len(calls) >= AT_LEAST:
            raise Overloaded(ahead - self._max_wait)
        waiting = sum(call.tokens for call in calls)
        if waiting and waiting + tokens > MAX_WAITING_TOKENS:
            raise Overloaded(self._speed.seconds(waiting))

    def _count(self) -> None:
        waiting = sum(len(call.items) - call.taken for call in self._waiting())
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
                if batch := self._take([self._urgent]) or self._take(self._lanes()):
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

    def _lanes(self) -> list[_Lane[Item, Result]]:
        """Whose turn comes first: by turns the new calls', and those that have begun."""
        lanes = [self._new, self._begun]
        if self._begun_next:
            lanes.reverse()
        self._begun_next = not self._begun_next and bool(self._begun)
        return lanes

    def _take(self, lanes: Sequence[_Lane[Item, Result]]) -> list[_Taken[Item, Result]]:
        """A batch of those whose turn it is; it ends before the deadlines of all that are in it."""
        now, budget = time.monotonic(), self._budget()
        batch: list[_Taken[Item, Result]] = []
        tokens, room = 0, float(budget)
        for lane in lanes:
            while lane:
                call = lane[0]
                if call.is_over(now):
                    lane.popleft()
                    continue
                in_time = self._speed.tokens(call.deadline - now)
                if tokens + call.costs[call.taken] > in_time and self._speed.is_of_now(now):
                    call.answer.finish()  # its next item would be late, in this batch or another
                    continue
                if call.turn <= 0:
                    call.turn = budget
                room = min(room, CAUTION * in_time)
                taken = call.take(room - tokens, first=not batch)
                if not taken.items:
                    return batch
                batch.append(taken)
                tokens += taken.tokens
                if call.taken < len(call.items) and call.costs[call.taken] <= call.turn:
                    return batch  # its turn goes on in the next one
                lane.popleft()
                if call.taken < len(call.items):
                    call.turn = 0
                    (lane if lane is self._urgent else self._begun).append(call)
        return batch

    def _budget(self) -> int:
        """Tokens of the next batch."""
        in_time = self._speed.tokens(BATCH_SECONDS)
        wanted = MIN_BATCH_TOKENS if math.isinf(in_time) else int(in_time)
        return min(max(wanted, MIN_BATCH_TOKENS), self._largest)

    def _serve(self, batch: Sequence[_Taken[Item, Result]]) -> None:
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
        self._speed.note(sum(taken.tokens for taken in batch), time.monotonic() - started)
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
            calls = [taken.call for taken in self._batch]
            for lane in (self._urgent, self._new, self._begun):
                calls += lane
                lane.clear()
        for call in calls:
            call.answer.fail(error)

    def _note_start(self, batch: Sequence[_Taken[Item, Result]]) -> None:
        tokens, count = sum(taken.tokens for taken in batch), sum(len(t.items) for t in batch)
        self._metrics.batch(tokens, self._budget(), count, self._part)
        for call, items, _ in batch:
            if call.taken == len(items):  # these are its first ones
                self._metrics.waited(self._batch_since - call.since, self._part)


class _Speed:
    """Tokens in a second, over the last few batches; unknown before the first."""

    def __init__(self) -> None:
        self._tokens = self._seconds = self._at = 0.0

    def is_of_now(self, now: float) -> bool:
        """Whether it is worth believing: a machine that was busy may be so no longer."""
        return now - self._at < BELIEVED_SECONDS

    def note(self, tokens: int, seconds: float) -> None:
        """A batch has been read."""
        self._at = time.monotonic()
        self._tokens = REMEMBERED * self._tokens + tokens
        self._seconds = REMEMBERED * self._seconds + seconds

    def tokens(self, seconds: float) -> float:
        """How many are read in so long; as many as you like while that is unknown."""
        return seconds * self._tokens / self._seconds if self._seconds else math.inf

    def seconds(self, tokens: float) -> float:
        """How long so many take; nothing while that is unknown."""
        return tokens * self._seconds / self._tokens if self._tokens else 0.0
