"""The two stages: the store finds candidates, the cross-encoder gives the final order."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from config import Settings
from search import notes
from search.errors import ModelError, Overloaded, Stopped
from search.hint import why_nothing
from search.order import (
    final_order,
    first_stage_order,
    fold,
    is_settled,
    log_odds_of,
    most_likely_first,
    with_copies,
    with_probabilities,
)
from search.rerank import Scored
from search.rerank.blend import Blend
from search.rerank.gate import margin
from search.rerank.provider import Answered, Reranker, RerankerProvider, in_short, log_fault
from search.rerank.sentences import best_sentences, sentences_of
from search.store import Store
from search.types import (
    Candidate,
    Cause,
    Condition,
    Hit,
    Ranking,
    RetrievalMode,
    StoreInfo,
    passage_input,
)

FIRST_READ, NEXT_READ = 18, 8
"""Passages read before it is asked whether the rest can be left, and each time after; nDCG@10 and
passages read for other numbers are in tests/benchmarks/latency.md."""
MAX_HIGHLIGHTED = 10
MIN_HIGHLIGHTED_SHARE = 0.2
"""The deciding sentence is looked for in so many hits, as people read them, and in those with such
a share of the best one's probability: a passage that hardly answers has no such sentence."""
RESERVED_SHARE, RESERVED_SECONDS = 0.05, 0.015
"""What is kept of a deadline for what comes after the scores: order, answer, sending. In a
service with sixteen callers that takes up to 30 ms (tests/benchmarks/serve_load.md)."""


def reserve(deadline: float) -> float:
    """Seconds that are kept of a deadline of so many; at most half of it."""
    return min(deadline / 2, RESERVED_SHARE * deadline + RESERVED_SECONDS)


class Search:
    """One query on its way: `retrieve → rerank → highlight`, and what each took."""

    def __init__(
        self,
        store: Store,
        info: StoreInfo,
        provider: RerankerProvider,
        settings: Settings,
        query: str,
        filters: Sequence[Condition],
    ) -> None:
        self.store, self.info = store, info
        self.embedding = info.embedding.name if info.embedding else None
        self.providers, self.provider = provider, provider.for_query(query)
        self.settings = settings
        self.query, self.filters = query, filters
        self.query_read = query
        """What the reranker reads of the query: of a very long one, its beginning."""
        self.clock = Clock(settings.deadline_ms)
        self.scored = 0
        self.settled = False
        """Whether passages were left unread because they would hardly have changed the answer."""
        self.reranker: Reranker | None = None
        # What each model cannot read of the query, where that is most of it.
        self.foreign_to_vectors = store.unreadable(query)
        self.foreign_to_reranker = provider.unreadable(query) if settings.rerank else None

    def run(self) -> Ranking:
        """The answer. Raises StoreError; a fault of the model is part of the answer."""
        settings = self.settings
        if settings.rerank and settings.gate is None and not self.foreign_to_reranker:
            self.provider.start()  # the model loads while the store is searched
        retrieval: RetrievalMode = "bm25" if self.foreign_to_vectors else settings.retrieval
        found = self.store.retrieve(
            self.query, settings.candidates, self.filters, retrieval, settings.alpha
        )
        candidates, copies = fold(found)
        self.clock.lap("retrieve")
        first = first_stage_order(candidates)
        reason, failed = None, False
        cause: Cause | None = None
        try:
            hits = self._rerank(candidates, first)
        except NotRerankedError as skipped:
            hits, reason, failed = first, skipped.reason, skipped.failed
            cause = skipped.cause
            if skipped.log_odds:
                hits = with_probabilities(first, skipped.log_odds)
        if hits and self.scored < len(candidates) and reason is None and not self.settled:
            cause = "deadline"
            reason = self._too_late(f"after {self.scored} of {len(candidates)} passages")
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
            notes=self._notes(len(found), len(hits)),
            cause=cause,
        )

    def _rerank(self, candidates: Sequence[Candidate], first: Sequence[Hit]) -> list[Hit]:
        """The final order. Raises NotRerankedError where the first stage's is to stand."""
        self._check_worth(first)
        reranker = self._loaded()
        blend = self._adapted(reranker.blend)
        if self.settings.early_stop:
            candidates = most_likely_first(candidates, blend)
        read = reranker.readable(self.query)
        pairs = [(read, passage_input(c.title, c.passage)) for c in candidates]
        try:
            scored = self._read(reranker, pairs, candidates, blend)
        except (Overloaded, Stopped):
            raise  # nobody waits for this answer, or it is to be asked for again
        except Exception as error:  # noqa: BLE001  # the model and its libraries raise anything
            log_fault("the reranker failed", error)
            raise NotRerankedError(f"the reranker failed: {in_short(error)}", "failed") from None
        self.clock.lap("rerank")
        if not scored:
            raise NotRerankedError(self._too_late("before a passage was scored"), "deadline")
        self.scored, self.reranker, self.query_read = len(scored), reranker, read
        if self.settled:
            candidates, pairs = candidates[: len(scored)], pairs[: len(scored)]
            kept = {candidate.document_id for candidate in candidates}
            first = [hit for hit in first if hit.id in kept]

        def order(by: Reranker, scored: Sequence[Scored]) -> list[Hit]:
            blend = self._adapted(by.blend)
            log_odds = [
                log_odds_of(blend, pair.logit, candidate)
                for pair, candidate in zip(scored, candidates, strict=False)
            ]
            return final_order(candidates, scored, log_odds, first)

        hits = order(reranker, scored)
        if len(scored) == len(pairs):
            self.providers.answered(
                Answered(
                    self.query, reranker, pairs, scored, lambda by, s: [h.id for h in order(by, s)]
                )
            )
        return hits

    def _read(
        self,
        reranker: Reranker,
        pairs: Sequence[tuple[str, str]],
        candidates: Sequence[Candidate],
        blend: Blend,
    ) -> list[Scored]:
        """Results for the first of the pairs: until the page is settled, or the time is over."""
        scored: list[Scored] = []
        size = max(FIRST_READ, self.settings.limit) if self.settings.early_stop else len(pairs)
        while len(scored) < len(pairs) and not self.settled:
            wanted = pairs[len(scored) : len(scored) + size]
            found = reranker.score_pairs(wanted, self.clock.seconds_left())
            scored += found
            if len(found) < len(wanted):
                break
            self.settled = is_settled(candidates, scored, blend, self.settings.limit)
            size = NEXT_READ
        return scored

    def _check_worth(self, first: Sequence[Hit]) -> None:
        if not self.settings.rerank:
            raise NotRerankedError("reranking is switched off", "off")
        if not first:
            raise NotRerankedError("the first stage found nothing", "nothing found")
        if self.foreign_to_reranker:
            raise NotRerankedError(
                f"the reranker {self.settings.model} cannot read this query "
                f"({self.foreign_to_reranker})",
                "unreadable",
            )
        gate = self.settings.gate
        if gate is None:
            return
        found = [hit.candidate for hit in first]
        blend = self._adapted(self.provider.blend)
        log_odds = [blend.first_stage(fused=c.fused, cosine=c.cosine, bm25=c.bm25) for c in found]
        lead = margin([c.score if o is None else o for c, o in zip(found, log_odds, strict=True)])
        if lead >= gate:
            reason = f"the first stage is sure (margin {lead:.3f} ≥ gate {gate:.3f})"
            raise NotRerankedError(reason, "gate", log_odds)

    def _adapted(self, blend: Blend) -> Blend:
        """The blend as the settings want it, for cosines of this store's embedding model."""
        blend = blend.for_embedding(self.embedding)
        return blend if self.settings.blend is None else blend.with_first_stage(self.settings.blend)

    def _loaded(self) -> Reranker:
        ready = self.provider.ready
        try:
            # With the deadline also where it was ready: a failed load may begin again right now.
            return self.provider.get(self.clock.seconds_left())
        except TimeoutError:
            late = self._too_late("while the reranker was being loaded")
            raise NotRerankedError(late, "deadline") from None
        except ModelError as error:
            raise NotRerankedError(f"the reranker failed: {error}", "failed") from None
        finally:
            if not ready:
                self.clock.lap("load")

    def _highlighted(self, hits: Sequence[Hit]) -> list[Hit]:
        """The same hits, the first of them with the sentence that decides."""
        late = self.clock.seconds_left() == 0
        if self.reranker is None or not self.settings.highlight or late:
            return list(hits)
        least = MIN_HIGHLIGHTED_SHARE * hits[0].score if hits else 0.0
        head = [h for h in hits[:MAX_HIGHLIGHTED] if h.logit is not None and h.score >= least]
        passages = [hit.passage for hit in head]
        sentences = sentences_of(passages, self.settings.language)
        # With the title, as passages are read: it says what "it" is.
        pairs = [
            (self.query_read, passage_input(head[i].title, passages[i][start:end]))
            for i, (start, end) in sentences
        ]
        try:
            scored = self.reranker.score_pairs(pairs, self.clock.seconds_left())
        except Exception as error:  # noqa: BLE001  # the order stands without it
            log_fault("the deciding sentences could not be scored", error)
            return list(hits)
        spans = best_sentences(sentences, [pair.logit for pair in scored], passages)
        self.clock.lap("highlight")
        marked = [replace(hit, highlight=span) for hit, span in zip(head, spans, strict=True)]
        return [*marked, *hits[len(head) :]]

    def _too_late(self, when: str) -> str:
        limit = self.settings.deadline_ms
        return f"the deadline{'' if limit is None else f' of {limit:g} ms'} passed {when}"

    def _notes(self, candidates: int, documents: int) -> tuple[str, ...]:
        settings, reranker = self.settings, self.reranker
        said = (
            notes.on_limit(settings, self.info, candidates, documents),
            notes.on_vectors(settings, self.info, self.foreign_to_vectors),
            notes.on_length(self.query, self.query_read, self._unread_tokens()),
            notes.on_blend(reranker),
            notes.on_gate(settings, reranker),
        )
        return (*self.info.notes, *(note for note in said if note))

    def _unread_tokens(self) -> int:
        """Tokens of the query that its vector leaves out."""
        # A token has a character at least, so that most queries need not be cut into tokens for it.
        short = len(self.query) < self.settings.embedding_max_tokens // 2
        if short or self.foreign_to_vectors or self.settings.retrieval == "bm25":
            return 0
        return self.store.unread_tokens(self.query)


class NotRerankedError(Exception):
    """Why the first stage's order stands; `failed` when it should not.

    `log_odds` of each document, where the first stage is trusted to say how sure it is.
    """

    def __init__(self, reason: str, cause: Cause, log_odds: Sequence[float | None] = ()) -> None:
        self.reason, self.cause, self.log_odds = reason, cause, log_odds
        self.failed = cause in ("deadline", "failed")


class Clock:
    """Milliseconds per stage, and what is left of the deadline."""

    def __init__(self, deadline_ms: float | None) -> None:
        self._start = self._last = time.perf_counter()
        self._end = math.inf
        if deadline_ms is not None:
            self._end = self._start + deadline_ms / 1000 - reserve(deadline_ms / 1000)
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round((now - self._last) * 1000, 2)
        self._last = now

    def total(self) -> float:
        return round((time.perf_counter() - self._start) * 1000, 2)

    def seconds_left(self) -> float | None:
        """For scores; None without a deadline."""
        return None if self._end == math.inf else max(0.0, self._end - time.perf_counter())
