"""The two models of a service: loaded, each behind a queue that all requests share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict
from functools import partial
from typing import Any, Self

from config import Settings, change
from search.embed import load_embedder
from search.errors import ModelError
from search.models.registry import CURRENT, Registry
from search.models.tokens import Tokenizer
from search.rerank import CrossEncoder, Scored
from search.rerank.cache import CachedReranker, ScoreCache, open_cache
from search.rerank.checkpoint import find_tokenizer
from search.rerank.provider import Reranker, RerankerProvider
from search.serve.caller import Answer
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
from search.serve.queued import (
    MAX_CHARACTERS,
    Encoder,
    Pair,
    QueuedEmbedder,
    QueuedReranker,
    Task,
    Vector,
    encoding,
    score_by_model,
    tokens,
)

LOOKUPS = 4
"""Threads that ask the cache for those who do not wait."""


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
            encoding(embedder),
            "embedder",
            metrics,
            batch_tokens=batch_tokens,
            max_wait=max_wait,
        )
        self.embedder = QueuedEmbedder(embedder, self._vectors)
        self._cache = cache
        self._lookups = ThreadPoolExecutor(LOOKUPS, "score cache")
        self._scores: FairQueue[tuple[Reranker, Pair], Scored] = FairQueue(
            score_by_model,
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


def _present(lineup: Lineup | None) -> Lineup:
    if lineup is None:
        raise ModelError("this service runs without a reranker (rerank: false)")
    return lineup
