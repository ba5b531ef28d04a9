"""Which searches are taken on: those that would not wait too long for the ones under way.

The queues before the models bound what waits there. A search also needs a thread and the store, and
whoever is refused should be so before any of that: so searches are counted at the door.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from search.errors import Overloaded

FIRST_STAGE = 5
"""What finding the candidates costs, in passages that the reranker reads in that time."""
AT_LEAST = 4
"""So many searches are taken on together, however slow the model is."""
REMEMBERED = 0.7
"""What each search leaves of the weight of those before it, where their time is measured."""


class Admitted:
    """Searches that were taken on together: the passages they may read."""

    def __init__(self, passages: int) -> None:
        self.passages = passages
        self.unread = 0
        """How many of them a deadline left unread."""


class Admission:
    """Counts searches in passages to read. Used by one thread, the event loop's."""

    def __init__(self, max_wait: float, most: int) -> None:
        """Nobody is to wait for others for more than `max_wait` seconds, nor `most` at once."""
        self._max_wait = max_wait
        self._most = most
        self._queries = 0
        self._passages = 0  # of all that are under way
        self._ahead = 0.0  # the same without what their deadlines will leave unread
        self._seconds = self._read = 0.0  # so many passages took so long, over the last searches

    @contextmanager
    def enter(
        self, queries: int, candidates: int, deadline: float = math.inf
    ) -> Iterator[Admitted]:
        """For as long as these are searched. Raises Overloaded.

        A search that has to be answered in `deadline` seconds waits for nobody's passages any
        longer, and makes nobody wait for longer; only its first stage cannot be cut short.
        """
        each = self._seconds / self._read if self._read else 0.0
        wait, bound = self._ahead * each, self._max_wait
        if deadline < bound:
            wait, bound = self._queries * FIRST_STAGE * each, deadline
        if self._queries >= AT_LEAST and wait > bound:
            raise Overloaded(wait - bound)
        if self._queries and self._queries + queries > self._most:
            raise Overloaded(wait)
        admitted = Admitted(queries * (FIRST_STAGE + candidates))
        ahead = min(admitted.passages, deadline / each) if each else admitted.passages
        self._queries += queries
        self._passages += admitted.passages
        self._ahead += ahead
        started, at_once = time.monotonic(), self._passages
        try:
            yield admitted
            share = 1 - admitted.unread / admitted.passages
            self._note(at_once * share, time.monotonic() - started)
        finally:
            self._queries -= queries
            self._passages -= admitted.passages
            self._ahead -= ahead

    def _note(self, passages: float, seconds: float) -> None:
        """With so many passages under way, a search took so long: that is the time of them all."""
        self._read = REMEMBERED * self._read + passages
        self._seconds = REMEMBERED * self._seconds + seconds
