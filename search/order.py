"""Candidate passages to documents in order, by either stage's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from search.rerank import Scored
from search.rerank.blend import Blend, sigmoid
from search.types import Candidate, Hit, PassageHit, Span, passage_input


def first_stage_order(candidates: Sequence[Candidate]) -> list[Hit]:
    """One hit per document, by its best candidate, in the order in which the store gave them."""
    of_document: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        of_document.setdefault(candidate.document_id, []).append(candidate)
    return [
        Hit(
            rank,
            probability=None,
            logit=None,
            candidate=best,
            retrieval_rank=rank,
            retrieval_score=best.score,
            passages=tuple(PassageHit(other, other.score) for other in others),
        )
        for rank, (best, *others) in enumerate(of_document.values(), start=1)
    ]


def with_probabilities(first: Sequence[Hit], log_odds: Sequence[float | None]) -> list[Hit]:
    """The first stage's hits with what it is worth itself; `log_odds` None: not known."""
    return [
        hit if odds is None else replace(hit, probability=sigmoid(odds))
        for hit, odds in zip(first, log_odds, strict=True)
    ]


def log_odds_of(blend: Blend, logit: float, candidate: Candidate) -> float:
    """The final score of a candidate that the cross-encoder gave this logit."""
    known = {"fused": candidate.fused, "cosine": candidate.cosine, "bm25": candidate.bm25}
    return blend.log_odds(logit, **known)


def most_likely_first(candidates: Sequence[Candidate], blend: Blend) -> list[Candidate]:
    """By what the first stage adds to the final score; ties keep their order."""
    return sorted(candidates, key=lambda candidate: -log_odds_of(blend, 0.0, candidate))


def is_settled(
    candidates: Sequence[Candidate], scored: Sequence[Scored], blend: Blend, limit: int
) -> bool:
    """Whether the candidates after the scored ones would all miss the first `limit` documents if
    the cross-encoder liked them as much as the middle one of those it has read.

    Never where the blend does not tell candidates apart by the first stage.
    """
    best: dict[str, float] = {}
    for candidate, pair in zip(candidates, scored, strict=False):
        log_odds = log_odds_of(blend, pair.logit, candidate)
        best[candidate.document_id] = max(best.get(candidate.document_id, log_odds), log_odds)
    middle = median(pair.logit for pair in scored)
    expected = [log_odds_of(blend, middle, candidate) for candidate in candidates]
    left = expected[len(scored) :]
    if not left or len(best) < limit or min(expected) == max(expected):
        return False
    return max(left) < sorted(best.values())[-limit]


def final_order(
    candidates: Sequence[Candidate],
    scored: Sequence[Scored],
    log_odds: Sequence[float],
    first: Sequence[Hit],
) -> list[Hit]:
    """One hit per document, by the probability of its best passage; ties keep the first order.

    `scored` and `log_odds` belong to the first candidates; documents without one come last.
    """
    of_document: dict[str, list[int]] = {}
    # By log-odds, not by probability, which is 1.0 for all that are large.
    for i in sorted(range(len(log_odds)), key=lambda i: -log_odds[i]):
        of_document.setdefault(candidates[i].document_id, []).append(i)
    by_id = {hit.id: hit for hit in first}
    reranked = [
        replace(
            by_id[document_id],
            probability=sigmoid(log_odds[best]),
            logit=scored[best].logit,
            candidate=_excerpt(candidates[best], scored[best].span),
            passages=tuple(PassageHit(candidates[i], sigmoid(log_odds[i])) for i in others),
        )
        for document_id, (best, *others) in of_document.items()
    ]
    unread = [hit for hit in first if hit.id not in of_document]
    return [replace(hit, rank=rank) for rank, hit in enumerate([*reranked, *unread], start=1)]


Copies = Mapping[tuple[str, int], Sequence[Candidate]]
"""(document id, passage index) → the same passage elsewhere."""


SHORT = 8
"""Words. Of a passage with fewer, as an answer of one word, the title says what it is about."""


def fold(candidates: Sequence[Candidate]) -> tuple[list[Candidate], Copies]:
    """The candidates without those whose passage stood further up already, and these apart."""
    kept: dict[str, Candidate] = {}
    copies: dict[tuple[str, int], list[Candidate]] = {}
    for candidate in candidates:
        original = kept.setdefault(_sameness(candidate), candidate)
        if original is not candidate:
            key = (original.document_id, original.passage_index)
            copies.setdefault(key, []).append(candidate)
    return list(kept.values()), copies


def _sameness(candidate: Candidate) -> str:
    """The same for two passages that say the same."""
    words = candidate.passage.split()
    return " ".join(words if len(words) >= SHORT else [candidate.title, *words])


def with_copies(hit: Hit, copies: Copies) -> Hit:
    """The hit, with the other documents in which its passage stands."""
    key = (hit.id, hit.candidate.passage_index)
    return replace(hit, also_in=tuple(copies[key])) if key in copies else hit


def _excerpt(candidate: Candidate, span: Span) -> Candidate:
    """The candidate with the part of its passage that won, where it was too long for one reading.

    `span` counts characters of `passage_input`.
    """
    before = len(passage_input(candidate.title, "x")) - 1
    passage = candidate.passage[max(0, span[0] - before) : max(0, span[1] - before)]
    return replace(candidate, passage=passage) if passage else candidate
