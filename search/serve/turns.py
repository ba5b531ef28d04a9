"""Which of the calls that wait are in the next batch: they take turns, and deadlines are kept.

Work is counted in tokens, which are estimated from the texts' bytes. To tokenize first would take
about a tenth of the model's own time, on the same cores, only to know how long the rest takes. The
model's speed is measured in the same estimated tokens, so that their error cancels.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from search.serve.caller import Answer, Result

Item = TypeVar("Item")

BATCH_SECONDS = 0.2
"""A batch is as large as the model reads in so long: that is what anybody waits for at least."""
MIN_BATCH_TOKENS = 512
CAUTION = 0.8
"""The share of the time up to a deadline that a batch is meant to take."""
REMEMBERED = 0.8
"""What each batch leaves of the weight of those before it, where the speed is measured."""
BELIEVED_SECONDS = 1.0
"""A speed that is older than this gives nobody up; the next item that can be late is tried."""


@dataclass(eq=False)
class Call(Generic[Item, Result]):
    """One caller's items, of which the first `taken` have gone to the model."""

    items: Sequence[Item]
    costs: Sequence[int]
    deadline: float
    tokens: int  # of the items that still wait
    answer: Answer[Result] = field(default_factory=Answer)
    since: float = field(default_factory=time.monotonic)
    taken: int = 0
    turn: int = 0  # tokens that it may still take before it is the next one's turn

    def is_over(self, now: float) -> bool:
        """Whether nobody waits for the rest of it; its answer is final then."""
        if self.deadline <= now:
            self.answer.finish()
        return self.answer.done()

    def take(self, room: float, *, first: bool) -> Taken[Item, Result]:
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
        return Taken(self, self.items[start : self.taken], tokens)


class Taken(NamedTuple, Generic[Item, Result]):
    """Items of one call that are in a batch together."""

    call: Call[Item, Result]
    items: Sequence[Item]
    tokens: int


_Lane = deque[Call[Item, Result]]


class Turns(Generic[Item, Result]):
    """The calls that wait. Whoever uses it sees to it that only one thread does at a time.

    Each turn is as large as a batch (less for a call with a deadline, so that all who wait get some
    of theirs in time), and a batch is filled up with the next one's turn; every other batch begins
    with calls that are new. So one of 1,000 items does not hold up one of ten, and many small ones
    share a batch.
    """

    def __init__(self, largest: int) -> None:
        """A batch has `largest` tokens at most, or one item."""
        self._largest = largest
        self.speed = Speed()
        self._urgent: _Lane[Item, Result] = deque()
        self._new: _Lane[Item, Result] = deque()
        self._begun: _Lane[Item, Result] = deque()
        self._begun_next = False

    def add(self, call: Call[Item, Result], *, urgent: bool) -> None:
        """It waits from now on; urgent calls go before all others."""
        (self._urgent if urgent else self._new).append(call)

    def remove(self, call: Call[Item, Result]) -> None:
        """It does not wait any more, if it did."""
        for lane in (self._urgent, self._new, self._begun):
            with suppress(ValueError):
                lane.remove(call)

    def waiting(self) -> list[Call[Item, Result]]:
        """All that wait."""
        return [*self._urgent, *self._new, *self._begun]

    def budget(self) -> int:
        """Tokens of the next batch."""
        in_time = self.speed.tokens(BATCH_SECONDS)
        wanted = MIN_BATCH_TOKENS if math.isinf(in_time) else int(in_time)
        return min(max(wanted, MIN_BATCH_TOKENS), self._largest)

    def _turn(self, call: Call[Item, Result], budget: int) -> int:
        """Tokens of its next turn."""
        return budget if call.deadline == math.inf else budget // max(1, len(self.waiting()))

    def next_batch(self) -> list[Taken[Item, Result]]:
        """Those whose turn it is; none when nobody waits."""
        return self._take([self._urgent]) or self._take(self._lanes())

    def _lanes(self) -> list[_Lane[Item, Result]]:
        """Whose turn comes first: by turns the new calls', and those that have begun."""
        lanes = [self._new, self._begun]
        if self._begun_next:
            lanes.reverse()
        self._begun_next = not self._begun_next and bool(self._begun)
        return lanes

    def _take(self, lanes: Sequence[_Lane[Item, Result]]) -> list[Taken[Item, Result]]:
        """A batch of those whose turn it is; it ends before the deadlines of all that are in it."""
        now, budget = time.monotonic(), self.budget()
        batch: list[Taken[Item, Result]] = []
        tokens, room = 0, float(budget)
        for lane in lanes:
            while lane:
                call = lane[0]
                if call.is_over(now):
                    self.remove(call)
                    continue
                in_time = self.speed.tokens(call.deadline - now)
                if tokens + call.costs[call.taken] > in_time and self.speed.is_of_now(now):
                    call.answer.finish()  # its next item would be late, in this batch or another
                    continue
                if call.turn <= 0:
                    call.turn = self._turn(call, budget)
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


class Speed:
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
