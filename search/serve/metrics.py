"""What the service counts and measures, for Prometheus: one object, a registry of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Literal

from fastapi import APIRouter, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from search.types import Hit, Ranking, StoreInfo

logger = logging.getLogger(__name__)

Part = Literal["embedder", "reranker"]
Fallback = Literal["deadline", "failed", "cache"]
"""Why an answer was worse or slower than it should have been. `cache`: it could not be reached."""
Rejection = Literal["invalid", "too large", "overloaded", "key"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)
PLACES = (0, 1, 2, 3, 5, 10, 20, 50)
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
TAUS = (-0.5, 0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)
TOKENS = (64, 256, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
STORE_SECONDS = 30.0
"""A store is counted at most so often: of millions of passages that takes a while."""


class Metrics:
    """Methods are named by what happened. Any thread may call them; labels have few values each."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"two_stage_{name}", text, labels, buckets=buckets, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"two_stage_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"two_stage_{name}", text, labels, registry=registry)

        self._stages = histogram(
            "stage_seconds", "Time of a search in each stage", SECONDS, "stage"
        )
        self._searches = counter(
            "searches", "Searches by outcome: reranked, partial, or why not", "outcome"
        )
        self._scores = histogram(
            "hit_score", "Probability of the hit at this place in a search", SHARES, "place"
        )
        self._moved = histogram(
            "rank_movement", "Places that a shown hit moved from the first stage's order", PLACES
        )
        self._fallbacks = counter(
            "fallbacks", "Answers worse or slower than they should be", "reason"
        )
        self._waits = histogram(
            "queue_wait_seconds", "Time work waited for its batch", SECONDS, "part"
        )
        self._lengths = gauge("queue_length", "Texts or pairs that wait now", "part")
        self._tokens = histogram(
            "batch_tokens",
            "Tokens in a batch, by the estimate that it was filled by",
            TOKENS,
            "part",
        )
        self._fill = histogram(
            "batch_fill", "Share of a batch's token budget in use", SHARES, "part"
        )
        self._pairs = histogram("batch_pairs", "Texts or pairs in a batch", COUNTS, "part")
        self._cache = counter("cache_lookups", "Scores looked for in the cache", "result")
        self._rejected = counter("rejected", "Requests that were refused, by reason", "reason")
        self._requests = counter("requests", "Requests by route and status", "route", "status")
        self._seconds = histogram("request_seconds", "Time of a request", SECONDS, "route")
        self._models = gauge("model_info", "1 for each model in use", "part", "name", "revision")
        self._model_labels: dict[Part, tuple[str, str, str]] = {}
        self._protocols = counter("rerank_requests", "Rerank requests by protocol", "protocol")
        self._roles = counter(
            "answers_by_role", "Queries given to the current or the canary", "role"
        )
        self._opinions = counter(
            "second_opinions", "Answers that another version was to score, too", "outcome"
        )
        self._tau = histogram(
            "second_opinion_tau", "Kendall's tau of the order answered and the other one", TAUS
        )
        self._other_top = counter(
            "second_opinion_other_top", "Second opinions with another document first"
        )
        self._switches = counter("model_switches", "Versions taken into use, or refused", "outcome")

    def searched(self, ranking: Ranking) -> None:
        """A search has its answer."""
        for stage, milliseconds in ranking.timings_ms.items():
            self._stages.labels(stage).observe(milliseconds / 1000)
        outcome = "partial" if ranking.reranked == "partial" else ranking.cause or "reranked"
        self._searches.labels(outcome).inc()
        if ranking.cause in ("deadline", "failed"):
            self.fallback(ranking.cause)
        for place, index in (("first", 0), ("tenth", 9)):
            if len(ranking.hits) > index:
                self._observe_score(place, ranking.hits[index])
        if ranking.reranked:
            for hit in ranking.hits:
                self._moved.observe(abs(hit.rank - hit.retrieval_rank))

    def _observe_score(self, place: str, hit: Hit) -> None:
        if hit.probability is not None:  # the first stage's own scores have another scale
            self._scores.labels(place).observe(hit.probability)

    def waited(self, seconds: float, part: Part = "reranker") -> None:
        """Work has left the queue for a batch."""
        self._waits.labels(part).observe(seconds)

    def queue_length(self, pairs: int, part: Part = "reranker") -> None:
        """So many texts or pairs wait now."""
        self._lengths.labels(part).set(pairs)

    def batch(self, tokens: int, budget: int, pairs: int, part: Part = "reranker") -> None:
        """A batch went to the model; it could have had `budget` tokens."""
        self._tokens.labels(part).observe(tokens)
        self._fill.labels(part).observe(tokens / budget)
        self._pairs.labels(part).observe(pairs)

    def cache(self, hits: int, misses: int) -> None:
        """Scores were looked for in the cache."""
        self._cache.labels("hit").inc(hits)
        self._cache.labels("miss").inc(misses)

    def fallback(self, reason: Fallback) -> None:
        """An answer went out that is worse or slower than it should be; a search says so itself."""
        self._fallbacks.labels(reason).inc()

    def rejected(self, reason: Rejection) -> None:
        """A request was refused for what it is, or because too much waits."""
        self._rejected.labels(reason).inc()

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered. `route` is the path as it was declared, not as it was asked."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def reranked_for(self, protocol: str) -> None:
        """A rerank request came in this protocol; several of them share one route."""
        self._protocols.labels(protocol).inc()

    def answered_by(self, role: Literal["current", "canary"]) -> None:
        """A query goes to this version."""
        self._roles.labels(role).inc()

    def second_opinion(
        self, outcome: Literal["compared", "dropped", "failed"], tau: float = 1.0, same: bool = True
    ) -> None:
        """Another version was to score an answer; `tau` says how far the two orders agree."""
        self._opinions.labels(outcome).inc()
        if outcome == "compared":
            self._tau.observe(tau)
            self._other_top.inc(not same)

    def switched(self, outcome: Literal["switched", "refused"]) -> None:
        """Another version was to be taken into use, or on trial."""
        self._switches.labels(outcome).inc()

    def model(self, part: Part, info: Mapping[str, Any]) -> None:
        """This model answers from now on, in place of the one before."""
        labels = (part, str(info.get("name")), str(info.get("revision")))
        before = self._model_labels.get(part, labels)
        self._model_labels[part] = labels
        self._models.labels(*labels).set(1)
        if before != labels:
            self._models.remove(*before)

    def watch_store(self, describe: Callable[[], StoreInfo]) -> None:
        """Count the store's documents and passages whenever somebody looks, but not too often."""
        self.registry.register(_StoreCollector(describe))

    def exposition(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self.registry)


class _StoreCollector(Collector):
    """Two gauges, read from the store; none while it cannot be read."""

    def __init__(self, describe: Callable[[], StoreInfo]) -> None:
        self._describe = describe
        self._lock = Lock()
        self._counts: tuple[int, int] | None = None
        self._at = -STORE_SECONDS

    def describe(self) -> list[GaugeMetricFamily]:
        """What may come; asked when this is registered, and the store is left alone then."""
        return [_gauge("documents"), _gauge("passages")]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._lock:
            if time.monotonic() - self._at >= STORE_SECONDS:
                self._counts = self._count()
                self._at = time.monotonic()
            counts = self._counts
        if counts is not None:
            yield _gauge("documents", counts[0])
            yield _gauge("passages", counts[1])

    def _count(self) -> tuple[int, int] | None:
        try:
            info = self._describe()
        except Exception as error:  # noqa: BLE001  # the other figures matter most just then
            logger.warning("the store cannot be counted: %s", error)
            return None
        return info.documents, info.passages


def _gauge(what: str, value: int | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"two_stage_{what}", f"{what.capitalize()} in the store", value)


def router(metrics: Metrics) -> APIRouter:
    """`GET /metrics`."""
    routes = APIRouter(tags=["operation"])

    # Not async: counting the store may take a while, and other requests must not wait for it.
    @routes.get("/metrics", response_class=Response)
    def read_metrics() -> Response:
        """What the service counted and measured, in Prometheus's text format."""
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes
