"""Relative score fusion, as Weaviate fuses its hybrid search."""

from __future__ import annotations

from collections.abc import Mapping

Scores = Mapping[int, float]
"""Passage key → score, of the passages that one ranking found; higher is better."""


def relative_score_fusion(vector: Scores, bm25: Scores, alpha: float) -> dict[int, float]:
    """alpha · vector + (1 - alpha) · BM25, each scaled to 0–1 over its own results; best first.

    A passage that a ranking did not find gets 0 from it; ties keep the smaller key first.
    Source: weaviate.io/blog/hybrid-search-fusion-algorithms (relativeScoreFusion).
    """
    fused: dict[int, float] = {}
    for ranking, weight in ((vector, alpha), (bm25, 1 - alpha)):
        # A ranking without weight takes no part: its finds would only trail in with score 0.
        if weight > 0:
            for key, score in _scaled(ranking).items():
                fused[key] = fused.get(key, 0.0) + weight * score
    return dict(sorted(fused.items(), key=lambda item: (-item[1], item[0])))


def _scaled(scores: Scores) -> dict[int, float]:
    """Min-max scaling; where all scores are equal (one result, say) each becomes 1."""
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    if low == high:
        return dict.fromkeys(scores, 1.0)
    return {key: (score - low) / (high - low) for key, score in scores.items()}
