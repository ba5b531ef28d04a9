"""Which searches are taken on: those that would not wait too long for the ones under way.

The queues before the models bound what waits there. A search also needs a thread and the store, and
whoever is refused should be so before any of that: so searches are counted at the door.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from search.errors import Overloaded

FIRST_STAGE = 5
"""What finding the candidates costs, in passages that the reranker reads in that time."""
FIRST_STAGE_SHARE = 1 / 3
"""A deadline is only taken on where finding the candidates takes at most this share of it."""
AT_LEAST = 4
"""So many searches are taken on together, however slow the model is."""
REMEMBERED = 0.9
"""What each search leaves of the weight of those before it, where their time is measured."""


@dataclass
class Searched:
    """One search that was taken on, and what is said of it once it is answered."""

    passages: int
    """It may read so many."""
    unread: int = 0
    """How many of these a deadline left unread."""
    first_stage: float = 0.0
    """Seconds that the candidates took to be found."""


class Admission:
    """Counts searches in passages to read. Used by one thread, the event loop's."""

    def __init__(self, max_wait: float, most: int) -> None:
        """Nobody is to wait for others for more than `max_wait` seconds, nor `most` at once."""
        self._max_wait = max_wait
        self._most = most
        self._queries = 0
        self._passages = 0  # of all that are under way
        self._ahead = 0.0  # the same without what their deadlines will leave unread
        # Over the last searches: so many passages took so long, and beside so many queries the
        # first stage took so long.
        self._seconds = self._read = 0.0
        self._finding = self._beside = 0.0

    def check(self, deadline: float = math.inf) -> None:
        """Raises Overloaded where one more would wait too long for those under way.

        A search that has to be answered in `deadline` seconds waits for nobody's passages any
        longer, and makes nobody wait for longer. Only its first stage cannot be cut short: where
        that would take too much of the time, it is refused.
        """
        wait, bound = self._ahead * self._each(), self._max_wait
        if deadline < bound:
            finding = self._finding / self._beside if self._beside else 0.0
            wait, bound = self._queries * finding, FIRST_STAGE_SHARE * deadline
        if self._queries >= AT_LEAST and wait > bound:
            raise Overloaded(wait - bound)
        if self._queries >= self._most:
            raise Overloaded(wait)

    @contextmanager
    def searching(self, candidates: int, deadline: float = math.inf) -> Iterator[Searched]:
        """For as long as one is searched: it counts as under way, and its time is measured."""
        searched = Searched(FIRST_STAGE + candidates)
        each = self._each()
        ahead = min(searched.passages, deadline / each) if each else searched.passages
        self._queries += 1
        self._passages += searched.passages
        self._ahead += ahead
        started, at_once, beside = time.monotonic(), self._passages, self._queries
        try:
            yield searched
            self._note(searched, at_once, beside, time.monotonic() - started)
        finally:
            self._queries -= 1
            self._passages -= searched.passages
            self._ahead -= ahead

    def _each(self) -> float:
        """Seconds for a passage, over the last searches."""
        return self._seconds / self._read if self._read else 0.0

    def _note(self, searched: Searched, at_once: int, beside: int, seconds: float) -> None:
        """With so many passages under way, a search took so long: that is the time of them all, or
        of as large a share of them as it had read. The same goes for the first stage."""
        share = 1 - searched.unread / searched.passages
        self._read = REMEMBERED * self._read + at_once * share
        self._seconds = REMEMBERED * self._seconds + seconds
        self._finding = REMEMBERED * self._finding + searched.first_stage
        self._beside = REMEMBERED * self._beside + beside
