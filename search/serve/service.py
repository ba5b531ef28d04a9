"""What the routes share: settings, models, the store, and the searcher over both."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from functools import cached_property
from typing import Self, TypeVar

import anyio
import anyio.to_thread

from config import Settings
from ingest.add import writing
from ingest.chunk import Chunker
from search.errors import Overloaded, Stopped, StoreError, StoreMissing, StoreUnavailable
from search.searcher import Searcher
from search.serve.admission import Admission
from search.serve.caller import Caller, current_caller
from search.serve.keys import Access
from search.serve.models import Models
from search.store import Store
from search.store.open import open_store

logger = logging.getLogger(__name__)

T = TypeVar("T")

THREADS = 40
MAX_WAITING = 100
"""Searches that wait for a thread; those that have one wait in the models' queue."""
MAX_WAITING_WRITERS = 8
RETRY_SECONDS = 2.0
"""A store that is away is looked for so often at most: each look may take seconds."""


class Service:
    """Made before the port opens; any number of requests use it at once."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        open_store: Callable[[], Store],
        write: Callable[[], AbstractContextManager[Store]],
        access: Access | None = None,
    ) -> None:
        """`open_store` is called when the store is first needed, and again while it fails.

        `write` gives the store to its only writer, one at a time.
        """
        self.settings = settings
        self.models = models
        self.metrics = models.metrics
        self.access = access or Access(settings.serve.keys)
        self.stopping = threading.Event()
        self._open_store = open_store
        self._write = write
        self._opening = threading.Lock()
        self._searcher: Searcher | None = None
        self._fault: StoreError | None = None
        self._next_try = 0.0
        self.admission = Admission(settings.serve.max_wait_ms / 1000, THREADS)
        self._threads = anyio.CapacityLimiter(THREADS)
        self._writer = asyncio.Lock()
        self._waiting_writers = 0
        self._writing: Caller | None = None
        self.metrics.watch_store(lambda: self.searcher.store.describe())

    @classmethod
    def load(cls, settings: Settings, access: Access | None = None) -> Self:
        """The models that `settings` name, loaded and run once, and the store if it is there.

        Raises ModelError, and StoreError for a store that will not get better by waiting.
        """
        service = cls.over(settings, Models.load(settings), access)
        try:
            service.searcher.store.describe()
        except StoreUnavailable as error:
            logger.warning("the store is away, and is looked for again when needed: %s", error)
        return service

    @classmethod
    def over(cls, settings: Settings, models: Models, access: Access | None = None) -> Self:
        """These models, and the store that `settings` name; that is opened when it is needed."""
        return cls(
            settings,
            models,
            lambda: _made_if_absent(settings, models),
            lambda: writing(settings, models.embedder),
            access,
        )

    @property
    def searcher(self) -> Searcher:
        """The two stages over the store. Raises StoreError while that is away."""
        with self._opening:
            if self._searcher is None:
                self._searcher = Searcher(self._opened(), self.models.provider, self.settings)
            return self._searcher

    def _opened(self) -> Store:
        if self._fault is not None and time.monotonic() < self._next_try:
            raise type(self._fault)(str(self._fault))
        try:
            store = self._open_store()
        except StoreError as error:
            self._fault, self._next_try = error, time.monotonic() + RETRY_SECONDS
            raise
        self._fault = None
        return store

    @cached_property
    def chunker(self) -> Chunker:
        """Cuts documents into passages that the embedding model reads whole."""
        settings, tokenizer = self.settings, self.models.embedder.tokenizer
        return Chunker(tokenizer, settings.chunk_overlap, settings.language)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What `work` gives, from a thread that knows the caller. Raises Overloaded."""
        if self._threads.statistics().tasks_waiting >= MAX_WAITING:
            raise Overloaded(1)
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    @asynccontextmanager
    async def writers_turn(self) -> AsyncIterator[None]:
        """Writers of this process wait for each other here. Raises Overloaded, Stopped."""
        if self._waiting_writers >= MAX_WAITING_WRITERS:
            raise Overloaded(5)
        self._waiting_writers += 1
        try:
            await self._wait_to_write()
        finally:
            self._waiting_writers -= 1
        self._writing = current_caller.get()
        try:
            yield
        finally:
            self._writing = None
            self._writer.release()

    async def _wait_to_write(self) -> None:
        """Raises Stopped as soon as the caller leaves: the place is another's."""
        loop, caller = asyncio.get_running_loop(), current_caller.get() or Caller("nobody")
        with anyio.CancelScope() as waiting:
            undo = caller.when_left(lambda: loop.call_soon_threadsafe(waiting.cancel))
            try:
                await self._writer.acquire()
            finally:
                undo()
        if waiting.cancelled_caught:
            raise Stopped("the caller has left")

    @contextmanager
    def writing(self) -> Iterator[Store]:
        """The store, to change it. Raises StoreUnavailable where another process writes."""
        with self._write() as store:
            yield store

    def stop(self) -> None:
        """Cut off who writes: the models give up what they embed for it."""
        self.stopping.set()
        if (writing := self._writing) is not None:
            writing.leave()

    def close(self) -> None:
        """Finish what waits, then release the models and the store."""
        self.stopping.set()
        self.models.close()
        if self._searcher is not None:
            self._searcher.close()


def _made_if_absent(settings: Settings, models: Models) -> Store:
    """The store to read from; where nothing was ever ingested, an empty one is made."""
    try:
        return open_store(settings, embedder=models.embedder)
    except StoreMissing:
        with closing(open_store(settings, create=True, embedder=models.embedder)):
            pass
        return open_store(settings, embedder=models.embedder)
