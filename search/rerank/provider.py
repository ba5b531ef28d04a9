"""The cross-encoder for many threads: loaded once, beside other work, and not again at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from threading import Lock, Thread
from typing import Protocol

from config import Settings
from search.errors import ModelError, SearchError
from search.models.tokens import Tokenizer
from search.rerank.blend import Blend
from search.rerank.checkpoint import find_blend, find_tokenizer
from search.rerank.encoder import CrossEncoder, Scored

logger = logging.getLogger(__name__)

FIRST_WAIT = 5.0
LONGEST_WAIT = 300.0
"""Seconds from a failed load to the next try; they double from the first to the longest."""


class Reranker(Protocol):
    """What a search asks of a cross-encoder."""

    @property
    def info(self) -> Mapping[str, str | int]:
        """Name, revision, device, precision …, as an answer shows them."""

    @property
    def blend(self) -> Blend:
        """How its logits become probabilities, together with the first stage's scores."""

    def readable(self, query: str) -> str:
        """The query, or as much of its beginning as the model can read beside a passage."""

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        """One result per (query, text), in input order.

        With `seconds`, only as many of the first pairs as can be read in that time.
        """


@dataclass(frozen=True, slots=True)
class Answered:
    """A query that a reranker has scored all candidates of.

    `order` gives the documents, best first, by any reranker's scores of the same `pairs`.
    """

    query: str
    by: Reranker
    pairs: Sequence[tuple[str, str]]
    scored: Sequence[Scored]
    order: Callable[[Reranker, Sequence[Scored]], list[str]]


class Wrapper:
    """Around another reranker: what an answer says of the model, and its blend, are that one's."""

    def __init__(self, model: Reranker) -> None:
        self._model = model

    @property
    def info(self) -> Mapping[str, str | int]:
        """Name, revision, device, precision …, as an answer shows them."""
        return self._model.info

    @property
    def blend(self) -> Blend:
        """How its logits become probabilities."""
        return self._model.blend

    def readable(self, query: str) -> str:
        """The query, or as much of its beginning as that one can read beside a passage."""
        return self._model.readable(query)


class RerankerProvider:
    """Loads one reranker for any number of threads, in a thread of its own.

    After a failure, whoever asks hears of it at once, and the next load waits for its time.
    """

    def __init__(
        self,
        load: Callable[[], Reranker],
        clock: Callable[[], float] = time.monotonic,
        blend: Callable[[], Blend] = Blend,
        tokenizer: Callable[[], Tokenizer | None] = lambda: None,
    ) -> None:
        """`blend` and `tokenizer` read the model's own without loading the model."""
        self._load = load
        self._read_blend = blend
        self._read_tokenizer = tokenizer
        self._clock = clock
        self._lock = Lock()
        self._attempt: Future[Reranker] | None = None
        self._reported: Future[Reranker] | None = None  # the failure that was last heard of
        self._thread: Thread | None = None
        self._failures = 0
        self._next_try = 0.0

    @classmethod
    def of(cls, settings: Settings) -> RerankerProvider:
        """The reranker that `settings` describe."""
        return cls(
            lambda: CrossEncoder.load(settings),
            blend=lambda: find_blend(settings.model, settings.models),
            tokenizer=lambda: find_tokenizer(settings.model, settings.models),
        )

    @cached_property
    def blend(self) -> Blend:
        """The model's blend, whether or not the model is loaded."""
        return self._read_blend()

    def unreadable(self, query: str) -> str | None:
        """What the model cannot read, if most of `query` is that; known without loading it."""
        tokenizer = None if query.isascii() else self._tokenizer
        return None if tokenizer is None else tokenizer.unreadable(query)

    @cached_property
    def _tokenizer(self) -> Tokenizer | None:
        return self._read_tokenizer()

    @property
    def ready(self) -> bool:
        """Whether `get` answers without waiting."""
        return self._attempt is not None and self._attempt.done()

    def for_query(self, query: str) -> RerankerProvider:
        """The one that answers this query; a service may have several."""
        return self

    def answered(self, answer: Answered) -> None:
        """A query was answered; a service may have others look at it, too."""

    def start(self) -> None:
        """Begin to load, unless that has been done; returns at once."""
        self._current()

    def get(self, timeout: float | None = None) -> Reranker:
        """The reranker, loaded if need be.

        Raises TimeoutError after `timeout` seconds, ModelError when it cannot be loaded.
        """
        attempt = self._current()
        error = attempt.exception(timeout)
        if error is None:
            return attempt.result()
        # A new one each time: raised again and again, one error would collect tracebacks.
        left = max(0.0, self._next_try - self._clock())
        wait = f"; the next try is in {left:.0f} s" if attempt is self._reported else ""
        self._reported = attempt
        raise ModelError(f"{in_short(error)}{wait}") from None

    def close(self) -> None:
        """Wait for a load that is under way: a process must not end in the middle of one."""
        if self._thread is not None:
            self._thread.join()

    def _current(self) -> Future[Reranker]:
        """The load that counts now; a new one when there was none, or it is time to try again."""
        with self._lock:
            attempt = self._attempt
            failed = attempt is not None and attempt.done() and attempt.exception() is not None
            if attempt is None or (failed and self._clock() >= self._next_try):
                attempt = self._attempt = Future()
                self._thread = Thread(target=self._run, args=(attempt,), daemon=True)
                self._thread.start()
            return attempt

    def _run(self, attempt: Future[Reranker]) -> None:
        try:
            reranker = self._load()
        except BaseException as error:  # noqa: BLE001  # those who wait have to hear of any
            self._failures += 1
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (self._failures - 1))
            self._next_try = self._clock() + wait
            log_fault("the reranker could not be loaded", error)
            attempt.set_exception(error)
        else:
            self._failures = 0
            attempt.set_result(reranker)


def in_short(error: BaseException) -> str:
    """One line for an answer; the class is named where the message was not written for users."""
    if isinstance(error, SearchError):
        return str(error)
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def log_fault(what: str, error: BaseException) -> None:
    """A fault of the model, with its traceback unless the message explains it."""
    explained = isinstance(error, SearchError)
    logger.warning("%s: %s", what, in_short(error), exc_info=None if explained else error)
