"""Candidate passages to documents in order, by either stage's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from search.rerank import Scored
from search.rerank.blend import sigmoid
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
