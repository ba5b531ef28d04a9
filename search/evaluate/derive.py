"""Runs derived from one pass: any K, blend weight and gate, without scoring anything again.

The rules are those of `search.stages`: a document ranks by its best passage, ties keep the first
stage's order, and a gated query keeps that order altogether. Two things differ from a search: a
document that only repeats another's passage is ranked, as judgments name documents, where `search`
names it beside the other; and a query that the model cannot read is scored all the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.evaluate.scoring import ScoredQuery
from search.rerank import Blend
from search.rerank.gate import margin

SHUFFLES = 20


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The three settings under tuning, named as in `config`; a gate of None always reranks.

    `blend` multiplies the first stage's part: 1 as the model's blend has it, 0 without it.
    """

    candidates: int
    blend: float = 1.0
    gate: float | None = None


def first_stage(scored: ScoredQuery, k: int) -> list[str]:
    """Documents of the first k candidates, as the store ordered them."""
    return list(dict.fromkeys(scored.document_ids[:k]))


def reranked(scored: ScoredQuery, k: int, blend: Blend) -> list[str]:
    """Documents of the first k candidates by their log-odds."""
    return list(best_log_odds(scored, k, blend))


def best_log_odds(scored: ScoredQuery, k: int, blend: Blend) -> dict[str, float]:
    """document id → log-odds of its best passage, best first."""
    return best_values(
        scored,
        [
            blend.log_odds(logit, fused=fused, cosine=cosine, bm25=bm25)
            for logit, fused, cosine, bm25 in zip(
                scored.logits[:k], *_signals(scored, k), strict=True
            )
        ],
    )


def best_values(scored: ScoredQuery, values: Sequence[float]) -> dict[str, float]:
    """document id → the highest of its candidates' `values`, best first; ties keep their order."""
    best: dict[str, float] = {}
    for i in sorted(range(len(values)), key=lambda i: -values[i]):
        best.setdefault(scored.document_ids[i], values[i])
    return best


def _signals(scored: ScoredQuery, k: int) -> tuple[tuple[float | None, ...], ...]:
    return scored.fused[:k], scored.cosines[:k], scored.bm25[:k]


def shuffled(scored: ScoredQuery, k: int, seed: int) -> list[str]:
    """The same documents in random order: what a reranker that knows nothing would give."""
    documents = first_stage(scored, k)
    random.Random(f"{seed} {scored.query_id}").shuffle(documents)
    return documents


def margins(passes: Sequence[ScoredQuery], k: int, blend: Blend) -> NDArray[np.float64]:
    """The gate's signal for each query (queries,): how sure the first stage is."""
    return np.array([margin(_first_stage_scores(scored, k, blend)) for scored in passes])


def keeps_first_stage(margins: NDArray[np.float64], gate: float | None) -> NDArray[np.bool_]:
    """Which queries the gate leaves to the first stage (queries,)."""
    if gate is None:
        return np.zeros(len(margins), dtype=bool)
    return np.asarray(margins >= gate)


def final(passes: Sequence[ScoredQuery], pipeline: Pipeline, blend: Blend) -> dict[str, list[str]]:
    """The run of the whole pipeline with these settings; `blend` is the model's own."""
    k = pipeline.candidates
    kept = keeps_first_stage(margins(passes, k, blend), pipeline.gate)
    scaled = blend.with_first_stage(pipeline.blend)
    return {
        scored.query_id: first_stage(scored, k) if keep else reranked(scored, k, scaled)
        for scored, keep in zip(passes, kept, strict=True)
    }


def _first_stage_scores(scored: ScoredQuery, k: int, blend: Blend) -> list[float]:
    """What the first stage makes of each document (of its best passage), best first."""
    best: dict[str, float] = {}
    rows = zip(scored.document_ids[:k], scored.scores[:k], *_signals(scored, k), strict=True)
    for document_id, score, fused, cosine, bm25 in rows:
        log_odds = blend.first_stage(fused=fused, cosine=cosine, bm25=bm25)
        best.setdefault(document_id, score if log_odds is None else log_odds)
    return list(best.values())
