"""The two stages: the store finds candidates, the cross-encoder gives the final order."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import cached_property
from types import TracebackType
from typing import Final, Self

import config
from config import Settings
from search.errors import InputError, ModelError
from search.hint import why_nothing
from search.order import (
    final_order,
    first_stage_order,
    fold,
    with_copies,
    with_probabilities,
)
from search.rerank import Scored
from search.rerank.blend import Blend
from search.rerank.gate import margin
from search.rerank.provider import Reranker, RerankerProvider, in_short, log_fault
from search.rerank.sentences import best_sentences, sentences_of
from search.store import Store
from search.types import Candidate, Condition, Hit, Ranking, RetrievalMode, passage_input

MAX_HIGHLIGHTED = 10
MIN_HIGHLIGHTED_SHARE = 0.2
"""The deciding sentence is looked for in so many hits, as people read them, and in those with such
a share of the best one's probability: a passage that hardly answers has no such sentence."""
DEADLINE_STEP = 8
"""Pairs scored between two looks at the clock; fewer would leave the processor half idle."""


class Unset(Enum):
    """Stands for "as the settings say" where None is a value of its own."""

    UNSET = "as the settings say"


UNSET: Final = Unset.UNSET


class Searcher:
    """Answers queries from one store. Threads may share it: the models are loaded once.

    The reranker is loaded by the first query that needs it, while the store is searched.
    """

    def __init__(self, store: Store, reranker: RerankerProvider, settings: Settings) -> None:
        """`settings` are what each search does unless it is asked for something else."""
        self.store = store
        self.settings = settings
        self._reranker = reranker

    @classmethod
    def open(cls, *, environment: Mapping[str, str] | None = None, **settings: object) -> Self:
        """The store and models that the settings name, as the commands find them.

        Settings come from `search.yaml` here, from `environment` (None: the process's own) and from
        the arguments, such as `store="my.db"`; the last wins. Raises ConfigError and StoreError.
        """
        if environment is None:
            environment = config.process_environment()
        return cls.from_settings(config.load(settings, environment))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The store and models that `settings` name. Raises StoreError, ModelError."""
        from search.store.open import open_store

        return cls(open_store(settings), RerankerProvider.of(settings), settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        # Ctrl-C means now: a model that is being loaded is not waited for.
        self.close(wait=kind is not KeyboardInterrupt)

    def close(self, wait: bool = True) -> None:
        """Release the store; `wait` for a model that is being loaded."""
        self.store.close()
        if wait:
            self._reranker.close()

    @cached_property
    def _embedding(self) -> str | None:
        """The model whose cosines the store gives, as far as it knows."""
        info = self.store.describe().embedding
        return info.name if info else None

    def warm_up(self) -> None:
        """Begin to load the reranker, if there is to be one; returns at once."""
        if self.settings.rerank:
            self._reranker.start()

    def search(
        self,
        query: str,
        *,
        filters: Sequence[Condition] = (),
        limit: int | None = None,
        candidates: int | None = None,
        retrieval: RetrievalMode | None = None,
        alpha: float | None = None,
        threshold: float | None = None,
        gate: float | Unset | None = UNSET,
        rerank: bool | None = None,
        deadline_ms: float | Unset | None = UNSET,
        highlight: bool | None = None,
    ) -> Ranking:
        """The documents that answer `query`, best first; the first stage's if reranking fails.

        The arguments are those of the settings of the same name, for this query only. Raises
        InputError for an empty query, ConfigError for a value out of bounds, StoreError when the
        store cannot be read.
        """
        query = query.strip()
        if not query:
            raise InputError("the query is empty: expected some words, for example a question")
        given = {
            "limit": limit,
            "candidates": candidates,
            "retrieval": retrieval,
            "alpha": alpha,
            "threshold": threshold,
            "rerank": rerank,
            "highlight": highlight,
        }
        changes: dict[str, object] = {name: v for name, v in given.items() if v is not None}
        changes |= {} if gate is UNSET else {"gate": gate}
        changes |= {} if deadline_ms is UNSET else {"deadline_ms": deadline_ms}
        settings = config.change(self.settings, **changes)
        return _Search(self.store, self._embedding, self._reranker, settings, query, filters).run()


class _Search:
    """One query on its way through the stages."""

    def __init__(
        self,
        store: Store,
        embedding: str | None,
        provider: RerankerProvider,
        settings: Settings,
        query: str,
        filters: Sequence[Condition],
    ) -> None:
        self.store, self.embedding = store, embedding
        self.provider, self.settings = provider, settings
        self.query, self.filters = query, filters
        self.clock = _Clock(settings.deadline_ms)
        self.scored = 0
        self.reranker: Reranker | None = None

    def run(self) -> Ranking:
        settings = self.settings
        if settings.rerank and settings.gate is None:
            self.provider.start()  # the model loads while the store is searched
        found = self.store.retrieve(
            self.query, settings.candidates, self.filters, settings.retrieval, settings.alpha
        )
        candidates, copies = fold(found)
        self.clock.lap("retrieve")
        first = first_stage_order(candidates)
        reason, failed = None, False
        try:
            hits = self._rerank(candidates, first)
        except _NotRerankedError as skipped:
            hits, reason, failed = first, skipped.reason, skipped.failed
            if skipped.log_odds:
                hits = with_probabilities(first, skipped.log_odds)
        if hits and self.scored < len(candidates) and reason is None:
            reason = (
                f"the deadline of {settings.deadline_ms:g} ms passed after {self.scored} of "
                f"{len(candidates)} passages"
            )
        passing = [
            hit for hit in hits if hit.probability is None or hit.score >= settings.threshold
        ]
        shown = [with_copies(hit, copies) for hit in passing[: settings.limit]]
        reranked = self.reranker is not None
        return Ranking(
            query=self.query,
            hits=tuple(self._highlighted(shown)),
            before=tuple(first[: settings.limit]),
            reranked="partial" if reranked and reason else reranked,
            reason=reason,
            failed=failed,
            timings_ms=self.clock.laps | {"total": self.clock.total()},
            model=self.reranker.info if self.reranker else {},
            scored=self.scored,
            hint=None
            if passing
            else why_nothing(self.store, self.filters, settings.threshold, hits),
            notes=self._notes(),
        )

    def _rerank(self, candidates: Sequence[Candidate], first: Sequence[Hit]) -> list[Hit]:
        """The final order. Raises _NotRerankedError where the first stage's is to stand."""
        self._check_worth(first)
        reranker = self._loaded()
        pairs = [(self.query, passage_input(c.title, c.passage)) for c in candidates]
        try:
            scored = self._score(reranker, pairs)
        except Exception as error:  # noqa: BLE001  # the model and its libraries raise anything
            log_fault("the reranker failed", error)
            raise _NotRerankedError(f"the reranker failed: {in_short(error)}", True) from None
        self.clock.lap("rerank")
        if not scored:
            raise _NotRerankedError(self._too_late("before a passage was scored"), True)
        self.scored, self.reranker = len(scored), reranker
        blend = self._adapted(reranker.blend)
        log_odds = [
            blend.log_odds(pair.logit, fused=c.fused, cosine=c.cosine, bm25=c.bm25)
            for pair, c in zip(scored, candidates, strict=False)
        ]
        return final_order(candidates, scored, log_odds, first)

    def _check_worth(self, first: Sequence[Hit]) -> None:
        if not self.settings.rerank:
            raise _NotRerankedError("reranking is switched off")
        if not first:
            raise _NotRerankedError("the first stage found nothing")
        gate = self.settings.gate
        if gate is None:
            return
        found = [hit.candidate for hit in first]
        blend = self._adapted(self.provider.blend)
        log_odds = [blend.first_stage(fused=c.fused, cosine=c.cosine, bm25=c.bm25) for c in found]
        lead = margin([c.score if o is None else o for c, o in zip(found, log_odds, strict=True)])
        if lead >= gate:
            reason = f"the first stage is sure (margin {lead:.3f} ≥ gate {gate:.3f})"
            raise _NotRerankedError(reason, log_odds=log_odds)

    def _adapted(self, blend: Blend) -> Blend:
        """The blend as the settings want it, for cosines of this store's embedding model."""
        blend = blend.for_embedding(self.embedding)
        return blend if self.settings.blend is None else blend.with_first_stage(self.settings.blend)

    def _loaded(self) -> Reranker:
        if self.provider.ready:
            return self._get(None)
        try:
            return self._get(self.clock.seconds_left())
        except TimeoutError:
            late = self._too_late("while the reranker was being loaded")
            raise _NotRerankedError(late, True) from None
        finally:
            self.clock.lap("load")

    def _get(self, timeout: float | None) -> Reranker:
        try:
            return self.provider.get(timeout)
        except ModelError as error:
            raise _NotRerankedError(f"the reranker failed: {error}", True) from None

    def _score(self, reranker: Reranker, pairs: Sequence[tuple[str, str]]) -> list[Scored]:
        """One result per pair, in order; with a deadline, for as many as the time allows."""
        if self.settings.deadline_ms is None:
            return reranker.score_pairs(pairs)
        scored: list[Scored] = []
        last_step = 0.0
        for start in range(0, len(pairs), DEADLINE_STEP):
            before = self.clock.seconds_left() or 0.0
            if before <= last_step:  # another step like the last would end too late
                break
            scored += reranker.score_pairs(pairs[start : start + DEADLINE_STEP])
            last_step = before - (self.clock.seconds_left() or 0.0)
        return scored

    def _highlighted(self, hits: Sequence[Hit]) -> list[Hit]:
        """The same hits, the first of them with the sentence that decides."""
        if self.reranker is None or not self.settings.highlight:
            return list(hits)
        least = MIN_HIGHLIGHTED_SHARE * hits[0].score if hits else 0.0
        head = [h for h in hits[:MAX_HIGHLIGHTED] if h.logit is not None and h.score >= least]
        passages = [hit.passage for hit in head]
        sentences = sentences_of(passages, self.settings.language)
        # With the title, as passages are read: it says what "it" is.
        pairs = [
            (self.query, passage_input(head[i].title, passages[i][start:end]))
            for i, (start, end) in sentences
        ]
        try:
            logits = [scored.logit for scored in self._score(self.reranker, pairs)]
        except Exception as error:  # noqa: BLE001  # the order stands without it
            log_fault("the deciding sentences could not be scored", error)
            return list(hits)
        spans = best_sentences(sentences, logits, passages)
        self.clock.lap("highlight")
        marked = [replace(hit, highlight=span) for hit, span in zip(head, spans, strict=True)]
        return [*marked, *hits[len(head) :]]

    def _too_late(self, when: str) -> str:
        return f"the deadline of {self.settings.deadline_ms:g} ms passed {when}"

    def _notes(self) -> tuple[str, ...]:
        """A gate is a margin of one retrieval's scores, chosen for one model's gain."""
        gate, tuned_for = self.settings.gate, self.settings.gate_tuned_for
        used = f"{self.settings.retrieval} {self.settings.model}"
        if gate is None or tuned_for in (None, used) or not self.settings.rerank:
            return ()
        return (
            f"the gate {gate:g} was tuned for {tuned_for!r}, but this search uses {used!r}: "
            "tune it again, or set gate: null",
        )


class _NotRerankedError(Exception):
    """Why the first stage's order stands; `failed` when it should not.

    `log_odds` of each document, where the first stage is trusted to say how sure it is.
    """

    def __init__(
        self, reason: str, failed: bool = False, log_odds: Sequence[float | None] = ()
    ) -> None:
        self.reason, self.failed, self.log_odds = reason, failed, log_odds


class _Clock:
    """Milliseconds per stage, and what is left of the deadline."""

    def __init__(self, deadline_ms: float | None) -> None:
        self._start = self._last = time.perf_counter()
        self._end = math.inf if deadline_ms is None else self._start + deadline_ms / 1000
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round((now - self._last) * 1000, 2)
        self._last = now

    def total(self) -> float:
        return round((time.perf_counter() - self._start) * 1000, 2)

    def seconds_left(self) -> float | None:
        """None without a deadline."""
        return None if self._end == math.inf else max(0.0, self._end - time.perf_counter())
