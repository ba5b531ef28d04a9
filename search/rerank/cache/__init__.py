"""Scores that were computed once: exact at any K, and still there after documents came again.

A score depends on the model, the query and the text, and on nothing else: not on the store, nor on
the other candidates. So that is its key, as a hash; texts and queries are never kept. Where scores
are kept is a backend's matter: `sqlite`, a file of this machine, or `redis`, for several processes
on several machines.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from typing import Protocol

from config import Settings
from search.errors import MissingExtra
from search.rerank.encoder import Scored
from search.rerank.provider import Reranker, Wrapper, in_short

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""A backend that failed is left alone for so long."""
WRITE_SECONDS = 0.2
"""New scores are collected for so long and written together, by a thread of their own."""
MAX_PENDING = 50_000
"""Scores that wait to be written; what comes while so many wait is not kept."""

Pair = tuple[str, str]


class CacheError(Exception):
    """The backend could not be reached, read or written."""


class Backend(Protocol):
    """Where scores are kept. Threads may share it; all methods raise CacheError."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Scored]:
        """The scores that are there; the others are left out."""

    def put(self, scores: Mapping[bytes, Scored]) -> None:
        """Keep these, too; as much older ones go as the bound on its size demands."""

    def close(self) -> None:
        """Release it."""


class ScoreCache:
    """A backend that may fail: then there are no scores in it, and that is all.

    The failure is logged once, and so is that the backend answers again. Threads may share it.
    """

    def __init__(
        self,
        name: str,
        open_backend: Callable[[], Backend],
        *,
        counted: Callable[[int, int], None] = lambda hits, misses: None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """`name` is for the log; `counted` hears of hits and misses, `failed` of a new failure."""
        self._name = name
        self._open = open_backend
        self._counted = counted
        self._failed = failed
        self._changed = threading.Condition()
        self._pending: dict[bytes, Scored] = {}
        self._lost = self._closing = False
        self._discarded: Backend | None = None
        self._backend = self._opened()
        self._thread = threading.Thread(target=self._work, name="score cache", daemon=True)
        self._thread.start()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Scored]:
        """The scores that are known; the others are left out."""
        with self._changed:
            found = {key: self._pending[key] for key in keys if key in self._pending}
            backend = self._backend
        missing = [key for key in keys if key not in found]
        if missing and backend is not None:
            try:
                found |= backend.get(missing)
            except CacheError as error:
                self._lose(backend, error)
        hits = sum(key in found for key in keys)
        self._counted(hits, len(keys) - hits)
        return found

    def put(self, scores: Mapping[bytes, Scored]) -> None:
        """Keep these, soon; returns at once."""
        with self._changed:
            if scores and self._backend is not None and len(self._pending) < MAX_PENDING:
                self._pending |= scores
                self._changed.notify()

    def close(self) -> None:
        """Write what waits, and release the backend."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(RETRY_SECONDS)

    def _work(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                if not self._closing and (self._backend is None or not self._pending):
                    self._changed.wait(RETRY_SECONDS if self._backend is None else None)
                closing = self._closing
            if self._discarded is not None:
                _close(self._discarded)
                self._discarded = None
            elif self._backend is None and not closing:
                self._backend = self._opened()
            elif not closing:
                time.sleep(WRITE_SECONDS)
            self._write()
        if self._backend is not None:
            _close(self._backend)

    def _write(self) -> None:
        with self._changed:
            backend, scores = self._backend, dict(self._pending)
        if backend is None or not scores:
            return
        try:
            backend.put(scores)
        except CacheError as error:
            self._lose(backend, error)
            return
        with self._changed:
            for key in scores:
                self._pending.pop(key, None)

    def _opened(self) -> Backend | None:
        try:
            backend = self._open()
        except CacheError as error:
            self._say_lost(error)
            return None
        if self._lost:
            logger.warning("the score cache (%s) answers again", self._name)
        self._lost = False
        return backend

    def _lose(self, backend: Backend, error: CacheError) -> None:
        """Do without it, until the thread that writes finds it again."""
        with self._changed:
            if self._backend is not backend:
                return  # another thread was faster
            self._backend, self._discarded = None, backend
            self._pending.clear()
            self._say_lost(error)
            self._changed.notify()

    def _say_lost(self, error: CacheError) -> None:
        if self._lost:
            return
        self._lost = True
        self._failed()
        logger.warning(
            "the score cache (%s) cannot be used: %s; every pair is scored anew until it can",
            self._name,
            in_short(error.__cause__ or error),
        )


def _close(backend: Backend) -> None:
    with suppress(CacheError):
        backend.close()


def open_cache(
    settings: Settings, counted: Callable[[int, int], None], failed: Callable[[], None]
) -> ScoreCache | None:
    """The cache that the settings want, if any. Raises ConfigError, MissingExtra."""
    serve = settings.serve
    if serve.redis_url is not None:
        try:
            from search.rerank.cache.redis import RedisScores
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "redis", "redis", "serve.redis_url") from None
        url = serve.redis_url.get_secret_value()
        return ScoreCache("Redis", lambda: RedisScores(url), counted=counted, failed=failed)
    if not serve.cache_bytes:
        return None
    from search.rerank.cache.sqlite import SqliteScores

    store = settings.store.expanduser()
    path = store.with_name(f"{store.name}.scores")
    return ScoreCache(
        str(path), lambda: SqliteScores(path, serve.cache_bytes), counted=counted, failed=failed
    )


class CachedReranker(Wrapper):
    """A reranker that scores only what it has not scored before."""

    def __init__(self, model: Reranker, cache: ScoreCache, identity: Callable[[], str]) -> None:
        """`identity` names what decides a score besides query and text: weights, precision …"""
        super().__init__(model)
        self._cache = cache
        self._identity = identity

    def score_pairs(self, pairs: Sequence[Pair], seconds: float | None = None) -> list[Scored]:
        """One result per (query, text), in input order; with `seconds`, of the first pairs."""
        started = time.monotonic()
        known = self.look_up(pairs)
        if not known.missing:
            return known.complete([])
        left = None if seconds is None else max(0.0, seconds + started - time.monotonic())
        return known.complete(self._model.score_pairs(known.missing, left))

    def look_up(self, pairs: Sequence[Pair]) -> Known:
        """What need not be scored of these."""
        return Known(pairs, self._cache, self._identity)


class Known:
    """What is known of some pairs; `missing` are to be scored."""

    def __init__(
        self, pairs: Sequence[Pair], cache: ScoreCache, identity: Callable[[], str]
    ) -> None:
        self._cache = cache
        self._identity = identity
        self._model = identity()
        self._keys = keys_of(pairs, self._model)
        self._found = cache.get(self._keys)
        # The same pair twice is scored once.
        missing = {k: p for k, p in zip(self._keys, pairs, strict=True) if k not in self._found}
        self._missing_keys = list(missing)
        self.missing = list(missing.values())

    def complete(self, scored: Sequence[Scored]) -> list[Scored]:
        """The results of all pairs, up to the first that is not among `scored`: those of the first
        of `missing`. They are kept."""
        new = dict(zip(self._missing_keys, scored, strict=False))
        if self._identity() == self._model:  # not moved to another device meanwhile
            self._cache.put({key: replace(one, tokens=0) for key, one in new.items()})
        results = []
        for key in self._keys:
            result = self._found.get(key) or new.get(key)
            if result is None:
                break
            results.append(result)
        return results


def keys_of(pairs: Sequence[Pair], model: str) -> list[bytes]:
    """16 bytes for each: a hash of model, query and text."""
    started = {query: _begin(model, query) for query, _ in pairs}
    keys = []
    for query, text in pairs:
        digest = started[query].copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        keys.append(digest.digest())
    return keys


def _begin(model: str, query: str) -> blake2b:
    digest = blake2b(digest_size=16)
    for part in (model, query):
        content = part.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest
