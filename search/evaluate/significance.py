"""Is the difference real? Bootstrap intervals, a paired randomization test, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
EQUAL = 1e-9  # two values of one query nearer than this are a tie
BATCH_CELLS = 10_000_000  # resampled values held in memory at a time


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


def estimate(values: Values, seed: int = 0) -> Estimate:
    """Percentile bootstrap over queries (Sakai, SIGIR 2006); a single query has no interval."""
    mean = float(values.mean())
    if len(values) < 2 or np.ptp(values) == 0:
        return Estimate(mean, mean, mean)
    interval = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        batch=_batch(len(values)),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high))


def randomization_test(differences: Values, seed: int = 0) -> float:
    """Two-sided p of the mean of paired differences under random signs (Smucker et al., CIKM 2007).

    Exact for few queries, else from 10,000 random sign patterns. One query proves nothing.
    """
    if len(differences) < 2 or not np.any(np.abs(differences) > EQUAL):
        return 1.0
    result = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        vectorized=True,
        batch=_batch(len(differences)),
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979), in input order."""
    m = len(p_values)
    adjusted = [0.0] * m
    highest = 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def win_tie_loss(differences: Values) -> tuple[int, int, int]:
    """How many queries got better, stayed, got worse."""
    wins = int(np.sum(differences > EQUAL))
    losses = int(np.sum(differences < -EQUAL))
    return wins, len(differences) - wins - losses, losses


def _batch(n: int) -> int:
    return max(1, min(RESAMPLES, BATCH_CELLS // n))
