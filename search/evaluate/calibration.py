"""Does a probability of 0.8 come true 8 times in 10? Platt's fit, and how far it is off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from search.answer import FAIR, STRONG
from search.errors import InputError
from search.evaluate.data import Task
from search.evaluate.derive import best_log_odds
from search.evaluate.scoring import ScoredQuery
from search.rerank import Blend

BINS = 10
SHOWN = 10  # documents of a query that count: those that a page of results shows
BANDS = (("strong", STRONG, 1.0), ("fair", FAIR, STRONG), ("weak", 0.0, FAIR))

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Band:
    """Documents whose probability lies in the band; `observed` is how many of them are relevant."""

    name: str
    low: float
    high: float
    documents: int
    predicted: float
    observed: float

    @property
    def holds(self) -> bool:
        """Whether the share that is relevant lies within the band's own limits."""
        return self.documents == 0 or self.low <= self.observed <= self.high


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well probabilities match outcomes; `bins` is (mean predicted, observed, documents)."""

    documents: int
    relevant: float
    expected_error: float
    bands: tuple[Band, ...]
    bins: tuple[tuple[float, float, int], ...]


def outcomes(
    task: Task, passes: Sequence[ScoredQuery], k: int, blend: Blend, min_grade: int
) -> tuple[Values, Values]:
    """Log-odds of the documents that a page would show, and 1 where relevant: twice (documents,).

    A candidate without a judgment counts as not relevant, as it does in every metric.
    """
    least = task.least_grade(min_grade)
    return joined(page(task, s, best_log_odds(s, k, blend), least) for s in passes)


def page(
    task: Task, scored: ScoredQuery, values: Mapping[str, float], min_grade: int
) -> tuple[Values, Values]:
    """As `outcomes`, of one query, whose documents have these `values`, best first."""
    grades = task.qrels[scored.query_id]
    ids = list(values)[:SHOWN]
    relevant = [grades.get(document_id, 0) >= min_grade for document_id in ids]
    return np.array([values[i] for i in ids]), np.array(relevant, dtype=np.float64)


def joined(parts: Iterable[tuple[Values, Values]]) -> tuple[Values, Values]:
    """Many pages as one."""
    values, labels = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(labels)


def platt(log_odds: Values, labels: Values) -> tuple[float, float]:
    """(slope, intercept) of P(relevant) = sigmoid(slope · x + intercept), by maximum likelihood.

    Targets are smoothed as Platt (1999) proposes, so that separable data give finite values.
    Raises InputError without both relevant and other documents, or when more means less relevant.
    """
    positives, negatives = float(labels.sum()), float((1 - labels).sum())
    if not positives or not negatives:
        raise InputError(
            f"calibration needs relevant and other documents; found {positives:.0f} relevant "
            f"and {negatives:.0f} others"
        )
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    targets = np.where(labels > 0, high, low)

    def loss(parameters: Values) -> tuple[float, Values]:
        z = parameters[0] * log_odds + parameters[1]
        # log(1 + e^z) - t·z is the cross-entropy, without overflow.
        error = expit(z) - targets
        return (
            float(np.mean(np.logaddexp(0, z) - targets * z)),
            np.array([np.mean(error * log_odds), np.mean(error)]),
        )

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    if slope <= 0:
        raise InputError(
            f"calibration: relevant documents score lower than others (slope {slope:.3f}); "
            "this model's order is wrong on this data, so its scores cannot be made probabilities"
        )
    return float(slope), float(intercept)


def measure(probabilities: Values, labels: Values) -> Calibration:
    """Expected calibration error over ten equal-width bins (Naeini et al., AAAI 2015); bands."""
    bins = []
    for b in range(BINS):
        inside = np.clip((probabilities * BINS).astype(int), 0, BINS - 1) == b
        if inside.any():
            bins.append(_summary(probabilities[inside], labels[inside]))
    error = sum(n * abs(predicted - observed) for predicted, observed, n in bins) / len(labels)
    return Calibration(
        len(labels), float(labels.mean()), error, _bands(probabilities, labels), tuple(bins)
    )


def _bands(probabilities: Values, labels: Values) -> tuple[Band, ...]:
    """strong is above 0.8, fair from 0.4 to 0.8 with both ends, weak below."""
    bands_of = np.where(
        probabilities > BANDS[0][1], 0, np.where(probabilities >= BANDS[1][1], 1, 2)
    )
    bands = []
    for number, (name, low, high) in enumerate(BANDS):
        inside = bands_of == number
        predicted, observed, n = _summary(probabilities[inside], labels[inside])
        bands.append(Band(name, low, high, n, predicted, observed))
    return tuple(bands)


def _summary(probabilities: Values, labels: Values) -> tuple[float, float, int]:
    if not len(labels):
        return 0.0, 0.0, 0
    return float(probabilities.mean()), float(labels.mean()), len(labels)
