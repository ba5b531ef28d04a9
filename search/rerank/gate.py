"""Whether reranking is worth its time: a first stage that is sure is left alone."""

from __future__ import annotations

from collections.abc import Sequence


def margin(scores: Sequence[float]) -> float:
    """The best score minus the third best (or the worst, of fewer); 0 for one or none."""
    best = sorted(scores, reverse=True)[:3]
    return best[0] - best[-1] if best else 0.0
