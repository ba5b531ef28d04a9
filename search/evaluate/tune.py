"""Chooses K and gate on dev sets, each judged by a blend that was fitted on the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.errors import InputError
from search.evaluate import derive
from search.evaluate.data import Task
from search.evaluate.derive import Pipeline
from search.evaluate.fit import Passes, fit_blend
from search.evaluate.metrics import MAIN, Metrics
from search.evaluate.scoring import ScoredQuery
from search.evaluate.significance import Estimate, estimate
from search.rerank import Blend

GATE_STEPS = 20  # thresholds tried, at equal shares of the dev queries


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the grid: mean nDCG@10 over the dev sets, and passages scored per query."""

    pipeline: Pipeline
    ndcg: float
    pairs: float
    reranked_share: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One dev set under the setting chosen; `pipeline` is what a domain not fitted on gets."""

    name: str
    queries: int
    first: float
    rerank: float
    pipeline: float
    difference: Estimate  # pipeline - first stage

    @property
    def below(self) -> bool:
        """Whether the pipeline is below its first stage by more than noise."""
        return self.difference.low < self.difference.high < 0  # one query is no evidence


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen and what it was chosen against; all figures are of the dev sets."""

    chosen: Setting
    best: Setting  # the highest nDCG@10 without a gate, at any cost
    first: float  # the first stage's nDCG@10 at the deepest K
    bound: float
    grid: tuple[Setting, ...]
    held_out: tuple[HeldOut, ...] = ()


def held_out_blends(
    dev: Passes, k: int, min_grade: int, calibrate_on: Passes | None = None
) -> list[Blend]:
    """For each dev set the blend fitted on all the others; of a single set, on itself.

    `calibrate_on` as in `fit_blend`: log-odds, and so a gate, must mean here what they mean in the
    blend that is written. They change no order, so that the held-out set may be among these.
    """

    def fitted(sets: Passes) -> Blend:
        return fit_blend(sets, k, min_grade, calibrate_on=calibrate_on)

    if len(dev) == 1:
        return [fitted(dev)]
    return [fitted([*dev[:i], *dev[i + 1 :]]) for i in range(len(dev))]


def tune(
    dev: Passes,
    blends: Sequence[Blend],
    ks: Sequence[int],
    weights: Sequence[float],
    bound: float,
) -> Tuning:
    """The fewest scored passages per query with nDCG@10 at least the best's less `bound`.

    `blends` has one for each dev set. The sets count alike, whatever their size; ties in cost go to
    the higher nDCG@10.
    """
    if not ks or not weights:
        raise InputError("nothing to tune: give at least one K (--k) and one weight (--blend)")
    ungated: list[Setting] = []
    grid: list[Setting] = []
    for k in ks:
        columns = _columns(dev, blends, k)
        gates = _gates(np.concatenate([column.margins for column in columns]))
        for weight in weights:
            values = [column.reranked(weight) for column in columns]
            settings = [_setting(columns, values, Pipeline(k, weight, gate)) for gate in gates]
            ungated.append(settings[0])
            grid.extend(settings)
    best = max(ungated, key=lambda s: (s.ndcg, -s.pairs))
    enough = [s for s in grid if s.ndcg >= best.ndcg - bound]
    chosen = min(enough, key=lambda s: (round(s.pairs, 6), -s.ndcg))
    first = float(np.mean([c.first.mean() for c in _columns(dev, blends, max(ks))]))
    rows = [c.held_out(chosen.pipeline) for c in _columns(dev, blends, chosen.pipeline.candidates)]
    return Tuning(chosen, best, first, bound, tuple(grid), tuple(rows))


class _Columns:
    """One dev set at one K, as arrays over its queries."""

    def __init__(self, task: Task, passes: Sequence[ScoredQuery], blend: Blend, k: int) -> None:
        self._task, self._passes, self._blend, self._k = task, passes, blend, k
        self._metrics = Metrics({s.query_id: task.qrels[s.query_id] for s in passes}, [MAIN])
        self.first = self._metrics({s.query_id: derive.first_stage(s, k) for s in passes})[MAIN]
        self.margins = derive.margins(passes, k, blend)
        self.pairs = np.array([len(s.scores[:k]) for s in passes], dtype=np.float64)

    def reranked(self, weight: float, gate: float | None = None) -> NDArray[np.float64]:
        """nDCG@10 of each query with the first stage's part times `weight` (queries,)."""
        run = derive.final(self._passes, Pipeline(self._k, weight, gate), self._blend)
        return self._metrics(run)[MAIN]

    def held_out(self, pipeline: Pipeline) -> HeldOut:
        final = self.reranked(pipeline.blend, pipeline.gate)
        return HeldOut(
            self._task.name,
            len(self._passes),
            float(self.first.mean()),
            float(self.reranked(0.0).mean()),
            float(final.mean()),
            estimate(final - self.first),
        )


def _columns(dev: Passes, blends: Sequence[Blend], k: int) -> list[_Columns]:
    return [
        _Columns(task, passes, blend, k) for (task, passes), blend in zip(dev, blends, strict=True)
    ]


def _setting(
    columns: Sequence[_Columns], values: Sequence[NDArray[np.float64]], pipeline: Pipeline
) -> Setting:
    """A gated query has the first stage's value and costs nothing."""
    ndcg, pairs, share = [], [], []
    for column, reranked in zip(columns, values, strict=True):
        kept = derive.keeps_first_stage(column.margins, pipeline.gate)
        ndcg.append(np.where(kept, column.first, reranked).mean())
        pairs.append(np.where(kept, 0.0, column.pairs).mean())
        share.append(1 - kept.mean())
    return Setting(pipeline, float(np.mean(ndcg)), float(np.mean(pairs)), float(np.mean(share)))


def _gates(margins: NDArray[np.float64]) -> list[float | None]:
    """None first (always rerank), then thresholds that leave ever more queries alone, 0: all."""
    shares = np.linspace(0, 1, GATE_STEPS + 1)[1:-1]
    thresholds = sorted({_short(float(q)) for q in np.quantile(margins, 1 - shares)}, reverse=True)
    return [None, *(t for t in thresholds if t > 0), 0.0]


def _short(threshold: float) -> float:
    """Four digits: what is written to the settings is then exactly what was tried."""
    return float(f"{threshold:.4g}")
