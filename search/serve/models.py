"""The two models, each behind a queue that all requests share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict
from functools import partial
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from config import Settings, change
from search.embed import PassageTokenizer, load_embedder
from search.errors import ModelError
from search.models.registry import CURRENT, Registry
from search.models.tokens import Tokenizer
from search.rerank import CrossEncoder, Scored
from search.rerank.cache import CachedReranker, ScoreCache, open_cache
from search.rerank.checkpoint import find_tokenizer
from search.rerank.provider import Reranker, RerankerProvider, Wrapper
from search.serve.caller import Answer, current_caller
from search.serve.lineup import (
    Follower,
    Line,
    Lineup,
    Named,
    Roles,
    SecondOpinions,
    named,
)
from search.serve.metrics import Metrics
from search.serve.queue import FairQueue
from search.stages import reserve
from search.store import Embedder
from search.types import EmbeddingInfo

MAX_CHARACTERS = 20_000
"""What a model reads of one text; passages of this project have some thousand characters. The rest
is cut before it is tokenized: of 10 MB that alone would take minutes and gigabytes."""
BYTES_PER_TOKEN = 4
"""Of UTF-8: an English token has four letters and more, a Chinese character, one token, has three
bytes."""

LOOKUPS = 4
"""Threads that ask the cache for those who do not wait."""

Task = Literal["query", "passage"]
Vector = NDArray[np.float32]  # (dimensions,)
Pair = tuple[str, str]


class Encoder(Embedder, Protocol):
    """An embedding model that also cuts documents to its size."""

    @property
    def tokenizer(self) -> PassageTokenizer: ...


class Models:
    """Vectors and scores for any number of callers at once.

    `embedder` and `provider` are for a Searcher, whose threads wait; `vectors` and `line` give
    futures. All of them go through the same two queues.
    """

    def __init__(
        self,
        embedder: Encoder,
        reranker: Reranker | None,
        *,
        metrics: Metrics | None = None,
        tokenizer: Tokenizer | None = None,
        cache: ScoreCache | None = None,
        identity: Callable[[], str] = str,
        batch_tokens: int = 16384,
        max_wait: float = math.inf,
    ) -> None:
        """`tokenizer` is the reranker's: it tells which queries that cannot read. `identity` says
        what decides its scores, which are kept in `cache`.

        A call is refused when it would wait for others for more than `max_wait` seconds.
        """
        self.metrics = metrics = metrics or Metrics()
        self._vectors: FairQueue[tuple[Task, str], Vector] = FairQueue(
            _encoder(embedder),
            "embedder",
            metrics,
            batch_tokens=batch_tokens,
            max_wait=max_wait,
        )
        self.embedder = QueuedEmbedder(embedder, self._vectors)
        self._cache = cache
        self._lookups = ThreadPoolExecutor(LOOKUPS, "score cache")
        self._scores: FairQueue[tuple[Reranker, Pair], Scored] = FairQueue(
            _by_model,
            "reranker",
            metrics,
            batch_tokens=batch_tokens,
            max_wait=max_wait,
        )
        self.lineup: Lineup | None = None
        self._follower: Follower | None = None
        if reranker is not None:
            name = Named(str(reranker.info["name"]), "")
            self.lineup = Lineup(Roles(self._line(name, reranker, tokenizer, identity)), metrics)
        self.provider = self.lineup or RerankerProvider(lambda: _present(None).get())
        metrics.model("embedder", asdict(embedder.info))

    @classmethod
    def load(cls, settings: Settings, metrics: Metrics | None = None) -> Self:
        """The models that `settings` name, run once before anyone calls; `rerank: false`: only one.

        Raises ModelError, ConfigError, MissingExtra.
        """
        metrics = metrics or Metrics()
        batch_tokens, max_wait = settings.batch_tokens, settings.serve.max_wait_ms / 1000
        embedder = load_embedder(settings)
        embedder.encode_query("the first run loads the model")
        if not settings.rerank:
            return cls(
                embedder, None, metrics=metrics, batch_tokens=batch_tokens, max_wait=max_wait
            )
        registry = Registry(settings.models)
        current = registry.current if settings.model == CURRENT else settings.model
        name = named(current, registry)
        models = cls(
            embedder,
            None,
            metrics=metrics,
            cache=open_cache(settings, metrics.cache, lambda: metrics.fallback("cache")),
            batch_tokens=batch_tokens,
            max_wait=max_wait,
        )
        models.provider = models.lineup = Lineup(Roles(models._loaded(name, settings)), metrics)
        models.lineup.second_opinions = SecondOpinions(
            models._scores.is_idle, metrics, settings.serve.comparison_log
        )
        models._follower = Follower(
            models.lineup, settings, lambda name: models._loaded(name, settings), metrics
        )
        models._follower.start()
        return models

    def _loaded(self, name: Named, settings: Settings) -> Line:
        """A model that has scored a known pair rightly. Raises ModelError, ConfigError."""
        reranker = CrossEncoder.load(change(settings, model=name.name))
        reranker.probe()
        tokenizer = find_tokenizer(name.name, settings.models)
        return self._line(name, reranker, tokenizer, lambda: reranker.identity)

    def _line(
        self,
        name: Named,
        reranker: Reranker,
        tokenizer: Tokenizer | None,
        identity: Callable[[], str],
    ) -> Line:
        """A model behind the queue, and behind the cache if there is one."""
        queued = QueuedReranker(reranker, self._scores)
        cached = CachedReranker(queued, self._cache, identity) if self._cache else None
        answering = cached or queued
        provider = RerankerProvider(
            lambda: answering, blend=lambda: reranker.blend, tokenizer=lambda: tokenizer
        )
        provider.get()
        return Line(name, answering, provider, partial(self._submit, queued, cached))

    @property
    def reranks(self) -> bool:
        """Whether there is a reranker."""
        return self.lineup is not None

    @property
    def reranker(self) -> Reranker:
        """The current one. Raises ModelError without a reranker."""
        return _present(self.lineup).roles.current.reranker

    def line(self, query: str) -> Line:
        """The reranker that answers this query. Raises ModelError without one."""
        return _present(self.lineup).line(query)

    @property
    def dimensions(self) -> int:
        """Of a vector."""
        return self.embedder.info.dimensions

    def vectors(self, texts: Sequence[str], task: Task) -> Answer[Vector]:
        """One vector of length 1 for each text; queries and passages may have their own prefixes.

        Raises Overloaded, Stopped, ModelError.
        """
        cut = [text[:MAX_CHARACTERS] for text in texts]
        return self._vectors.submit([(task, text) for text in cut], list(map(tokens, cut)))

    def _submit(
        self, reranker: QueuedReranker, cached: CachedReranker | None, pairs: Sequence[Pair]
    ) -> Answer[Scored]:
        if cached is None:
            return reranker.submit(pairs)
        answer: Answer[Scored] = Answer()
        # Off the event loop: a cache may take a while to answer, or to be found dead.
        self._lookups.submit(copy_context().run, _score_rest, reranker, cached, pairs, answer)
        return answer

    def fault(self) -> dict[str, str]:
        """Why a part ("embedder", "reranker") is not expected to answer; empty when all is well."""
        faults = {"embedder": self._vectors.fault(), "reranker": self._scores.fault()}
        return {name: fault for name, fault in faults.items() if fault is not None}

    def meta(self) -> dict[str, Any]:
        """What runs here."""
        reranker = None if self.lineup is None else dict(self.reranker.info)
        return {"embedding": asdict(self.embedder.info), "reranker": reranker}

    def close(self) -> None:
        """Finish what waits."""
        if self._follower is not None:
            self._follower.close()
        self.provider.close()
        self._lookups.shutdown()
        self._vectors.close()
        self._scores.close()
        if self._cache is not None:
            self._cache.close()


class QueuedEmbedder:
    """An embedding model for threads that wait: they share batches, and queries go first."""

    def __init__(self, model: Encoder, queue: FairQueue[tuple[Task, str], Vector]) -> None:
        self._model = model
        self._queue = queue

    @property
    def info(self) -> EmbeddingInfo:
        """What identifies this embedding space."""
        return self._model.info

    @property
    def tokenizer(self) -> PassageTokenizer:
        """For cutting documents into passages."""
        return self._model.tokenizer

    def unreadable(self, text: str) -> str | None:
        """What the model cannot read, if most of `text` is that; else None."""
        return self._model.unreadable(text)

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(texts, dimensions). However many wait: whoever stores documents is not refused here."""
        rows = self._encode([("passage", text) for text in texts], urgent=False)
        return np.array(rows, np.float32).reshape(-1, self.info.dimensions)

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """(dimensions,)"""
        (vector,) = self._encode([("query", text)], urgent=True)
        return vector

    def _encode(self, items: list[tuple[Task, str]], urgent: bool) -> list[Vector]:
        cut: list[tuple[Task, str]] = [(task, text[:MAX_CHARACTERS]) for task, text in items]
        costs = [tokens(text) for _, text in cut]
        queue = self._queue
        return queue.result(queue.submit(cut, costs, urgent=urgent, bounded=False))


class QueuedReranker(Wrapper):
    """A cross-encoder for threads that wait: they share batches."""

    def __init__(self, model: Reranker, queue: FairQueue[tuple[Reranker, Pair], Scored]) -> None:
        super().__init__(model)
        self._queue = queue

    def score_pairs(self, pairs: Sequence[Pair], seconds: float | None = None) -> list[Scored]:
        """One result per pair, in order; as many as there are after `seconds`, if that is given.

        The deadline of the request that this thread works for counts, too.
        """
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        caller = current_caller.get()
        if caller is not None and caller.deadline is not None:
            kept = reserve(caller.deadline - caller.arrived)
            deadline = min(deadline, caller.deadline - kept)
        # Not bounded: a search was admitted before it began.
        return self._queue.result(self.submit(pairs, deadline, bounded=False), deadline)

    def submit(
        self, pairs: Sequence[Pair], deadline: float = math.inf, *, bounded: bool = True
    ) -> Answer[Scored]:
        """The same for one who does not wait. Raises Overloaded, Stopped, ModelError."""
        cut = [(query, text[:MAX_CHARACTERS]) for query, text in pairs]
        return self._queue.submit(
            [(self._model, pair) for pair in cut],
            [tokens(query) + tokens(text) for query, text in cut],
            deadline=deadline,
            bounded=bounded,
        )


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    size = len(text) if text.isascii() else len(text.encode(errors="replace"))
    return size // BYTES_PER_TOKEN + 2


def _encoder(model: Encoder) -> Callable[[list[tuple[Task, str]]], list[Vector]]:
    def encode(tasks: list[tuple[Task, str]]) -> list[Vector]:
        passages = [text for task, text in tasks if task == "passage"]
        rows = iter(model.encode_passages(passages) if passages else ())
        return [
            next(rows) if task == "passage" else model.encode_query(text) for task, text in tasks
        ]

    return encode


def _score_rest(
    reranker: QueuedReranker, cached: CachedReranker, pairs: Sequence[Pair], answer: Answer[Scored]
) -> None:
    """Fulfil `answer` from the cache and, as soon as it can, the model."""
    try:
        known = cached.look_up(pairs)
        rest = reranker.submit(known.missing)
    except Exception as error:  # noqa: BLE001  # whoever waits has to hear of it
        answer.fail(error)
        return

    def complete(rest: Future[list[Scored]]) -> None:
        error = None if rest.cancelled() else rest.exception()
        if error is not None:
            answer.fail(error)
        elif not rest.cancelled():
            answer.so_far = known.complete(rest.result())
            answer.finish()

    answer.add_done_callback(lambda answer: rest.abandon())
    rest.add_done_callback(complete)


def _by_model(items: Sequence[tuple[Reranker, Pair]]) -> list[Scored]:
    """Each pair scored by the model that it was queued for."""
    models = {id(model): model for model, _ in items}
    scored: dict[int, Scored] = {}
    for model in models.values():
        positions = [i for i, (its, _) in enumerate(items) if its is model]
        found = model.score_pairs([items[i][1] for i in positions])
        scored |= zip(positions, found, strict=True)
    return [scored[i] for i in range(len(items))]


def _present(lineup: Lineup | None) -> Lineup:
    if lineup is None:
        raise ModelError("this service runs without a reranker (rerank: false)")
    return lineup
