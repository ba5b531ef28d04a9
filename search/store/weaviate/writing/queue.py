"""Passages that a server will index later: seen in the index, waited for, or found lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from itertools import islice

from search.store.weaviate.objects import Objects, PassageKey, batched
from search.store.weaviate.server import Server

log = logging.getLogger(__name__)

PAGE = 1000
PAUSE_SECONDS = 0.3
EMPTY_LOOKS = 4  # in a row, since a queue may be empty a moment before its last vectors are there
UNKNOWN_SECONDS = 10
STUCK_SECONDS = 60
STUCK_AGAIN_SECONDS = 3


class Queue:
    """Passages sent to a server that indexes vectors later, from a queue on its disk, as far as
    they have not been seen in the vector index.

    A server killed at the wrong moment keeps an object and loses its entry in the queue: so each is
    looked for, and what has not come once the queue is empty is sent anew.
    """

    def __init__(self, server: Server, objects: Objects) -> None:
        self._server = server
        self._objects = objects
        # Where the server does not say, what is not found at once is waited for.
        self.is_used = server.indexes_later() is not False
        self._waiting: dict[PassageKey, None] = {}
        self._patience: float = STUCK_SECONDS

    def __contains__(self, key: PassageKey) -> bool:
        return key in self._waiting

    def add(self, keys: Iterable[PassageKey]) -> None:
        """Remember these, and forget a page of older ones that are there by now."""
        self._forget_indexed(list(islice(self._waiting, PAGE)))
        self._waiting |= dict.fromkeys(keys)

    def settle(self) -> list[PassageKey]:
        """Wait until the vector index holds all; those that it does not though nothing waits.

        Ends early, and says so, where nothing changes for a long time: they are on the disk.
        """
        changed, empty = time.monotonic(), 0
        while self._waiting:
            length = self._server.queue_length(self._objects.collection.name)
            before = len(self._waiting)
            for page in batched(list(self._waiting), PAGE):
                self._forget_indexed(page)
            quiet = time.monotonic() - changed
            empty = empty + 1 if length == 0 and len(self._waiting) == before else 0
            if empty >= EMPTY_LOOKS or (length is None and quiet > UNKNOWN_SECONDS):
                lost, self._waiting = list(self._waiting), {}
                return lost
            if len(self._waiting) < before:
                changed = time.monotonic()
            elif quiet > self._patience:
                log.warning(
                    "Weaviate at %s does not index %d passages by vector, which are on its disk: "
                    "see its log, and restart it if its disk was full",
                    self._objects.url,
                    len(self._waiting),
                )
                self._waiting, self._patience = {}, STUCK_AGAIN_SECONDS
            if self._waiting:
                time.sleep(PAUSE_SECONDS)
        return []

    def lost(self, keys: Iterable[PassageKey]) -> list[PassageKey]:
        """Those of these passages that are not in the vector index, and not on their way there."""
        doubtful = [key for key in keys if key not in self._waiting]
        for key in doubtful:
            self._waiting[key] = None
        self._forget_indexed(doubtful)
        if not any(key in self._waiting for key in doubtful):
            return []
        lost, asked = self.settle(), set(doubtful)
        self._waiting |= dict.fromkeys(key for key in lost if key not in asked)
        return [key for key in lost if key in asked]

    def _forget_indexed(self, keys: Sequence[PassageKey]) -> None:
        there = self._objects.passages((key.document_id for key in keys), indexed=True)
        for key in keys:
            if key.passage in there.get(key.document_id, {}):
                self._waiting.pop(key, None)
