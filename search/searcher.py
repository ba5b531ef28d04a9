"""The two stages: the store finds candidates, the cross-encoder gives the final order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from config import Settings
from search.errors import InputError, SearchError
from search.rerank import CrossEncoder
from search.rerank.blend import blended_log_odds, min_max, sigmoid
from search.rerank.gate import margin, unsure
from search.store import Store
from search.types import Candidate, Condition, Hit, Ranking, passage_input

# What a model and its libraries can fail with; anything else is a bug of ours and is raised.
RERANK_FAULTS = (SearchError, RuntimeError, OSError, ImportError, MemoryError)


class Searcher:
    """Answers queries from one store; the reranker is loaded by the first query that needs it."""

    def __init__(
        self, store: Store, load_reranker: Callable[[], CrossEncoder], settings: Settings
    ) -> None:
        self.store = store
        self.settings = settings
        self._load_reranker = load_reranker
        self._reranker: CrossEncoder | None = None

    def search(self, query: str, filters: Sequence[Condition] = ()) -> Ranking:
        """The documents that answer `query`, best first; the first stage's if reranking fails.

        Raises InputError for an empty query, StoreError when the store cannot be read.
        """
        query = query.strip()
        if not query:
            raise InputError("the query is empty: expected some words, for example a question")
        clock = _Clock()
        candidates = self.store.retrieve(
            query, self.settings.candidates, filters, self.settings.retrieval
        )
        clock.lap("retrieve")
        hits, skipped = self._second_stage(query, candidates, clock)
        reranker = self._reranker if skipped is None else None
        return Ranking(
            query=query,
            hits=tuple(hits[: self.settings.limit]),
            before=tuple(first_stage_order(candidates)[: self.settings.limit]),
            reranked=skipped is None,
            reason=skipped.reason if skipped else None,
            failed=skipped.failed if skipped else False,
            timings_ms=clock.laps | {"total": clock.total()},
            model=reranker.info if reranker else {},
        )

    def _second_stage(
        self, query: str, candidates: Sequence[Candidate], clock: _Clock
    ) -> tuple[list[Hit], _Skipped | None]:
        """The final order, or the first stage's own and why it stands."""
        skipped = self._reason_to_skip(candidates)
        if skipped is None:
            try:
                if self._reranker is None:
                    self._reranker = self._load_reranker()
                    clock.lap("load")
                hits = rerank(self._reranker, query, candidates, self.settings.blend)
                clock.lap("rerank")
                return [hit for hit in hits if hit.score >= self.settings.threshold], None
            except RERANK_FAULTS as error:
                skipped = _Skipped(f"the reranker failed: {error}", failed=True)
        return first_stage_order(candidates), skipped

    def _reason_to_skip(self, candidates: Sequence[Candidate]) -> _Skipped | None:
        if not self.settings.rerank:
            return _Skipped("reranking is switched off")
        if not candidates:
            return _Skipped("the first stage found nothing")
        scores = [hit.score for hit in first_stage_order(candidates)]
        if self.settings.gate is not None and not unsure(scores, self.settings.gate):
            lead = f"{margin(scores):.3f} ≥ gate {self.settings.gate:.3f}"
            return _Skipped(f"the first stage is sure (margin {lead})")
        return None


def first_stage_order(candidates: Sequence[Candidate]) -> list[Hit]:
    """One hit per document, by its best candidate, in the order in which the store gave them."""
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        best.setdefault(candidate.document_id, candidate)
    return [
        Hit(rank, c.score, None, c, retrieval_rank=rank, retrieval_score=c.score)
        for rank, c in enumerate(best.values(), start=1)
    ]


def rerank(
    reranker: CrossEncoder,
    query: str,
    candidates: Sequence[Candidate],
    blend: float | None = None,
) -> list[Hit]:
    """One hit per document, by the probability of its best passage; `blend` None: the model's own.

    Ties keep the first stage's order.
    """
    scored = reranker.score_pairs([(query, passage_input(c.title, c.passage)) for c in candidates])
    weight = reranker.settings.blend_weight if blend is None else blend
    relative = min_max([c.score for c in candidates])
    log_odds = [
        blended_log_odds(pair.logit, r, reranker.settings, weight)
        for pair, r in zip(scored, relative, strict=True)
    ]
    best: dict[str, int] = {}
    # By log-odds, not by probability, which is 1.0 for all that are large.
    for i in sorted(range(len(candidates)), key=lambda i: -log_odds[i]):
        best.setdefault(candidates[i].document_id, i)
    first = {hit.candidate.document_id: hit for hit in first_stage_order(candidates)}
    return [
        Hit(
            rank,
            sigmoid(log_odds[i]),
            scored[i].logit,
            _excerpt(candidates[i], scored[i].span),
            first[document_id].retrieval_rank,
            first[document_id].retrieval_score,
        )
        for rank, (document_id, i) in enumerate(best.items(), start=1)
    ]


def _excerpt(candidate: Candidate, span: tuple[int, int]) -> Candidate:
    """The candidate with the part of its passage that won, where it was too long for one reading.

    `span` counts characters of `passage_input`.
    """
    before = len(passage_input(candidate.title, "x")) - 1
    passage = candidate.passage[max(0, span[0] - before) : max(0, span[1] - before)]
    return replace(candidate, passage=passage) if passage else candidate


@dataclass(frozen=True, slots=True)
class _Skipped:
    """Why the second stage did not run; `failed` when it should have."""

    reason: str
    failed: bool = False


class _Clock:
    """Milliseconds per stage."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round((now - self._last) * 1000, 2)
        self._last = now

    def total(self) -> float:
        return round((time.perf_counter() - self._start) * 1000, 2)
