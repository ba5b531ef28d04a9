"""The comparison of both stages on one task, from one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.evaluate import derive
from search.evaluate.data import Task
from search.evaluate.derive import Pipeline
from search.evaluate.metrics import MAIN, Metrics, PerQuery, Run, names
from search.evaluate.scoring import ScoredQuery
from search.evaluate.significance import (
    EQUAL,
    Estimate,
    estimate,
    holm,
    randomization_test,
    win_tie_loss,
)
from search.rerank import Blend

SHOWN = 10  # documents that `search` shows; recall is reported there and at the full depth


@dataclass(frozen=True, slots=True)
class Row:
    """One metric. The difference is pipeline - first stage; p is Holm-corrected over the metrics.

    p is None for recall at the full depth K, which no order of the K candidates can change.
    """

    metric: str
    first: Estimate
    rerank: Estimate
    pipeline: Estimate
    difference: Estimate
    p: float | None
    wins: int
    ties: int
    losses: int
    first_positive: float  # the mean over queries that have a relevant document at all
    pipeline_positive: float


@dataclass(frozen=True, slots=True)
class Point:
    """The K-curve at one K: mean nDCG@10 of each stage, what bounds it, and the cost."""

    k: int
    first: float
    rerank: float
    blend: float
    ideal: float  # the same candidates in the best order that there is
    recall: float
    pairs: float  # passages scored per query
    milliseconds: float  # of scoring per query, as this pass ran


@dataclass(frozen=True, slots=True)
class Change:
    """A query on which the pipeline did worse than the first stage (nDCG@10)."""

    query_id: str
    query: str
    first: float
    pipeline: float


@dataclass(frozen=True, slots=True)
class Report:
    """All that is reported of one task."""

    name: str
    pipeline: Pipeline
    queries: int
    unjudged: int
    without_positive: tuple[str, ...]
    random: float  # nDCG@10 of the same candidates in random order
    reranked_share: float  # of queries; the gate leaves the others to the first stage
    rows: tuple[Row, ...]
    curve: tuple[Point, ...]
    blends: Mapping[float, float]  # factor of the first stage's part → nDCG@10 at the pipeline's K
    worse: tuple[Change, ...]
    gains: tuple[float, ...]  # nDCG@10, pipeline - first stage, per query in the task's order


def stages(
    passes: Sequence[ScoredQuery], pipeline: Pipeline, blend: Blend
) -> dict[str, dict[str, list[str]]]:
    """The three runs that are compared: first stage, cross-encoder alone, the whole pipeline."""
    k = pipeline.candidates
    alone = blend.with_first_stage(0)
    return {
        "first": {s.query_id: derive.first_stage(s, k) for s in passes},
        "rerank": {s.query_id: derive.reranked(s, k, alone) for s in passes},
        "pipeline": derive.final(passes, pipeline, blend),
    }


def build(
    task: Task,
    passes: Sequence[ScoredQuery],
    pipeline: Pipeline,
    blend: Blend,
    *,
    ks: Sequence[int],
    weights: Sequence[float],
    min_grade: int = 1,
    seed: int = 0,
) -> Report:
    """Everything about one task; deterministic for a given pass and seed."""
    k = pipeline.candidates
    metrics = Metrics(task.qrels, names({min(SHOWN, k), k}, min_grade))
    first, rerank, final = (metrics(run) for run in stages(passes, pipeline, blend).values())
    kept = derive.keeps_first_stage(derive.margins(passes, k, blend), pipeline.gate)
    gains = final[MAIN] - first[MAIN]
    main = Metrics(task.qrels, [MAIN])
    without_positive = task.without_positive()  # of nDCG, which counts every grade
    positive = {name: _has(task, 1 if name == MAIN else min_grade) for name in metrics.measures}
    return Report(
        name=task.name,
        pipeline=pipeline,
        queries=len(task.queries),
        unjudged=task.unjudged,
        without_positive=tuple(without_positive),
        random=_random_order(main, passes, k, seed),
        reranked_share=float(1 - kept.mean()),
        rows=_rows(metrics.measures, first, rerank, final, positive, f"@{k}", seed),
        curve=tuple(_point(task, passes, at, pipeline.blend, blend, min_grade) for at in ks),
        blends={w: _mean(main, derive.final(passes, Pipeline(k, w), blend)) for w in weights},
        worse=_worse(task, first[MAIN], final[MAIN]),
        gains=tuple(float(gain) for gain in gains),
    )


def _rows(
    measures: Sequence[str],
    first: Mapping[str, PerQuery],
    rerank: Mapping[str, PerQuery],
    final: Mapping[str, PerQuery],
    positive: Mapping[str, NDArray[np.bool_]],
    full_depth: str,
    seed: int,
) -> tuple[Row, ...]:
    tested = [m for m in measures if not (m.startswith(("R@", "R(")) and m.endswith(full_depth))]
    raw = [randomization_test(final[m] - first[m], seed) for m in tested]
    p_values = dict(zip(tested, holm(raw), strict=True))
    return tuple(
        Row(
            m,
            estimate(first[m], seed),
            estimate(rerank[m], seed),
            estimate(final[m], seed),
            estimate(final[m] - first[m], seed),
            p_values.get(m),
            *win_tie_loss(final[m] - first[m]),
            _mean_of(first[m], positive[m]),
            _mean_of(final[m], positive[m]),
        )
        for m in measures
    )


def _has(task: Task, min_grade: int) -> NDArray[np.bool_]:
    """Which queries have a document of this grade (queries,)."""
    without = set(task.without_positive(min_grade))
    return np.array([query_id not in without for query_id in task.qrels])


def _mean_of(values: PerQuery, chosen: NDArray[np.bool_]) -> float:
    return float(values[chosen].mean()) if chosen.any() else 0.0


def _point(
    task: Task,
    passes: Sequence[ScoredQuery],
    k: int,
    weight: float,
    blend: Blend,
    min_grade: int,
) -> Point:
    recall = names([k], min_grade)[-1]
    metrics = Metrics(task.qrels, [MAIN, recall])
    runs = stages(passes, Pipeline(k, weight), blend)
    first = metrics(runs["first"])
    pairs = sum(len(s.scores[:k]) for s in passes)
    scored = sum(len(s.scores) for s in passes)
    milliseconds = sum(s.milliseconds for s in passes) * pairs / max(1, scored)
    return Point(
        k,
        float(first[MAIN].mean()),
        _mean(metrics, runs["rerank"]),
        _mean(metrics, runs["pipeline"]),
        _mean(metrics, {s.query_id: _ideal(task, s, k) for s in passes}),
        float(first[recall].mean()),
        pairs / len(passes),
        milliseconds / len(passes),
    )


def _ideal(task: Task, scored: ScoredQuery, k: int) -> list[str]:
    grades = task.qrels[scored.query_id]
    return sorted(derive.first_stage(scored, k), key=lambda document: -grades.get(document, 0))


def _random_order(metrics: Metrics, passes: Sequence[ScoredQuery], k: int, seed: int) -> float:
    shuffles = range(seed, seed + derive.SHUFFLES)
    runs: list[Run] = [{s.query_id: derive.shuffled(s, k, i) for s in passes} for i in shuffles]
    return float(np.mean([_mean(metrics, run) for run in runs]))


def _mean(metrics: Metrics, run: Run) -> float:
    return float(metrics(run)[MAIN].mean())


def _worse(task: Task, first: PerQuery, final: PerQuery) -> tuple[Change, ...]:
    """Largest loss first."""
    changes = [
        Change(query_id, task.queries[query_id], float(before), float(after))
        for query_id, before, after in zip(task.qrels, first, final, strict=True)
        if before - after > EQUAL
    ]
    return tuple(sorted(changes, key=lambda change: change.pipeline - change.first))
