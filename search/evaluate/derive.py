"""Runs derived from one pass: any K, blend weight and gate, without scoring anything again.

The rules are those of `search.searcher`: a document ranks by its best passage, ties keep the first
stage's order, and a gated query keeps that order altogether.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.evaluate.scoring import ScoredQuery
from search.rerank import ModelSettings
from search.rerank.blend import blended_log_odds, min_max
from search.rerank.gate import margin

SHUFFLES = 20


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The three settings under tuning, named as in `config`; a gate of None always reranks."""

    candidates: int
    blend: float
    gate: float | None = None


def first_stage(scored: ScoredQuery, k: int) -> list[str]:
    """Documents of the first k candidates, as the store ordered them."""
    return list(dict.fromkeys(scored.document_ids[:k]))


def reranked(scored: ScoredQuery, k: int, weight: float, model: ModelSettings) -> list[str]:
    """Documents of the first k candidates by blended log-odds; weight 0: no first stage."""
    return list(best_log_odds(scored, k, weight, model))


def best_log_odds(
    scored: ScoredQuery, k: int, weight: float, model: ModelSettings
) -> dict[str, float]:
    """document id → log-odds of its best passage, best first."""
    relative = min_max(scored.scores[:k])
    log_odds = [
        blended_log_odds(logit, r, model, weight)
        for logit, r in zip(scored.logits[:k], relative, strict=True)
    ]
    best: dict[str, float] = {}
    for i in sorted(range(len(log_odds)), key=lambda i: -log_odds[i]):
        best.setdefault(scored.document_ids[i], log_odds[i])
    return best


def shuffled(scored: ScoredQuery, k: int, seed: int) -> list[str]:
    """The same documents in random order: what a reranker that knows nothing would give."""
    documents = first_stage(scored, k)
    random.Random(f"{seed} {scored.query_id}").shuffle(documents)
    return documents


def margins(passes: Sequence[ScoredQuery], k: int) -> NDArray[np.float64]:
    """The gate's signal for each query (queries,): how sure the first stage is."""
    return np.array([margin(_document_scores(scored, k)) for scored in passes])


def keeps_first_stage(margins: NDArray[np.float64], gate: float | None) -> NDArray[np.bool_]:
    """Which queries the gate leaves to the first stage (queries,)."""
    if gate is None:
        return np.zeros(len(margins), dtype=bool)
    return np.asarray(margins >= gate)


def final(
    passes: Sequence[ScoredQuery], pipeline: Pipeline, model: ModelSettings
) -> dict[str, list[str]]:
    """The run that `search` with these settings would give."""
    k = pipeline.candidates
    kept = keeps_first_stage(margins(passes, k), pipeline.gate)
    return {
        scored.query_id: first_stage(scored, k)
        if keep
        else reranked(scored, k, pipeline.blend, model)
        for scored, keep in zip(passes, kept, strict=True)
    }


def _document_scores(scored: ScoredQuery, k: int) -> list[float]:
    """The first stage's score of each document (its best passage's), best first."""
    best: dict[str, float] = {}
    for document_id, score in zip(scored.document_ids[:k], scored.scores[:k], strict=True):
        best.setdefault(document_id, score)
    return list(best.values())
