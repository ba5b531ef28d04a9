"""An answer or a document in plain data: the public JSON, and the bands that name a probability."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from search.types import (
    Candidate,
    Hit,
    Location,
    Passage,
    PassageHit,
    Ranking,
    Source,
    StoredDocument,
)

STRONG, FAIR = 0.8, 0.4
GOOD_SHARE = 0.5
"""Another passage of a document is worth showing with at least this share of the best's score."""


def band(probability: float) -> str:
    """How well a passage seems to answer: strong > 0.8, fair 0.4–0.8, weak below.

    Not called high or low: what share of the strong ones is right depends on the documents (0.95 on
    the set that probabilities were fitted on; tests/benchmarks/training.md has the others).

    >>> band(0.9), band(0.8), band(0.1)
    ('strong', 'fair', 'weak')
    """
    return "strong" if probability > STRONG else "fair" if probability >= FAIR else "weak"


def good_passages(hit: Hit) -> list[PassageHit]:
    """The document's other passages that answer nearly as well as the one shown, best first."""
    # Each in the scores that the passages were compared by.
    best = hit.retrieval_score if hit.logit is None else hit.score
    return [other for other in hit.passages if other.score >= GOOD_SHARE * best]


def as_json(ranking: Ranking, passages: bool = False) -> dict[str, Any]:
    """The answer for programs; the keys are part of the public interface.

    `passages` adds each document's other good passages.
    """
    return {
        "query": ranking.query,
        "reranked": ranking.reranked,
        "scored": ranking.scored,
        "reason": ranking.reason,
        "failed": ranking.failed,
        "hint": ranking.hint,
        "notes": list(ranking.notes),
        "hits": [_hit_json(hit, passages) for hit in ranking.hits],
        "timings_ms": dict(ranking.timings_ms),
        "model": dict(ranking.model),
    }


def document_json(document: StoredDocument) -> dict[str, Any]:
    """A stored document with its passages; the keys are part of the public interface."""
    return {
        "id": document.id,
        "title": document.title,
        "source": source_json(document.source),
        "metadata": dict(document.metadata),
        "passages": [
            {"text": passage.text, "location": _location_json(passage.location)}
            for passage in document.passages
        ],
    }


def document_text(document: StoredDocument) -> str:
    """The text, where neighbouring passages share words once.

    Between two that share nothing, a blank stands as a line end; a blank line stays one.
    """
    pieces = [passage.text for passage in document.passages[:1]]
    for before, after in pairwise(document.passages):
        gap = _gap(before, after)
        pieces.append("\n" * gap + after.text if gap > 0 else after.text[-gap:])
    return "".join(pieces)


def _gap(before: Passage, after: Passage) -> int:
    """Characters, all of them white space, between two passages; negative: what they share."""
    if before.start is None or after.start is None:
        return -_guessed(before.text, after.text) or 1
    return after.start - before.start - len(before.text)


def _guessed(before: str, after: str) -> int:
    """For what earlier versions stored, without places: the longest run that fits, from the start
    of a word. Wrong where a text repeats itself, or puts no white space between words.
    """
    for size in range(min(len(before), len(after)), 0, -1):
        at_word = size == len(before) or before[-size - 1].isspace()
        if at_word and before.endswith(after[:size]):
            return size
    return 0


def _hit_json(hit: Hit, passages: bool) -> dict[str, Any]:
    found = {
        "rank": hit.rank,
        "id": hit.id,
        "title": hit.title,
        "passage": hit.passage,
        "highlight": None if hit.highlight is None else list(hit.highlight),
        "source": source_json(hit.source),
        "location": _location_json(hit.location),
        "score": hit.score,
        "probability": hit.probability,
        "logit": hit.logit,
        "retrieval": {"rank": hit.retrieval_rank, "score": hit.retrieval_score},
        "metadata": dict(hit.metadata),
        "also_in": [_elsewhere_json(candidate) for candidate in hit.also_in],
    }
    if passages:
        found["passages"] = [_passage_json(other) for other in good_passages(hit)]
    return found


def _passage_json(other: PassageHit) -> dict[str, Any]:
    location = _location_json(other.candidate.location)
    return {"passage": other.candidate.passage, "location": location, "score": other.score}


def _elsewhere_json(candidate: Candidate) -> dict[str, Any]:
    return {
        "id": candidate.document_id,
        "title": candidate.title,
        "source": source_json(candidate.source),
        "location": _location_json(candidate.location),
    }


def source_json(source: Source | None) -> dict[str, Any] | None:
    """Where a document came from; None when that is not known."""
    return None if source is None else {"file": source.file, "line": source.line}


def _location_json(location: Location | None) -> dict[str, Any] | None:
    if location is None:
        return None
    return {"line": location.line, "page": location.page, "heading": location.heading}
