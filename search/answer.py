"""An answer in plain data: the public JSON, and the bands that name a probability."""

from __future__ import annotations

from typing import Any

from search.types import Hit, Ranking

HIGH, MEDIUM = 0.8, 0.4


def band(probability: float) -> str:
    """high > 0.8, medium 0.4–0.8, low below."""
    return "high" if probability > HIGH else "medium" if probability >= MEDIUM else "low"


def as_json(ranking: Ranking) -> dict[str, Any]:
    """The answer for programs; the keys are part of the public interface."""
    return {
        "query": ranking.query,
        "reranked": ranking.reranked,
        "reason": ranking.reason,
        "hits": [_hit_json(hit) for hit in ranking.hits],
        "timings_ms": dict(ranking.timings_ms),
        "model": dict(ranking.model),
    }


def _hit_json(hit: Hit) -> dict[str, Any]:
    return {
        "rank": hit.rank,
        "id": hit.candidate.document_id,
        "title": hit.candidate.title,
        "passage": hit.candidate.passage,
        "score": hit.score,
        "logit": hit.logit,
        "retrieval": {"rank": hit.retrieval_rank, "score": hit.retrieval_score},
        "metadata": dict(hit.candidate.metadata),
    }
