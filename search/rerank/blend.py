"""The final score: the cross-encoder's log-odds, with a say for the first stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """How a model's logits are read: log-odds = slope × logit + intercept (Platt scaling).

    `blend_weight` is the log-odds that the first stage adds between its last and first candidate.
    """

    slope: float = 1.0
    intercept: float = 0.0
    blend_weight: float = 0.0

    def log_odds(self, logit: float) -> float:
        """The calibrated logit."""
        return self.slope * logit + self.intercept

    def probability(self, logit: float) -> float:
        """0–1: the one place where a logit meets a sigmoid without a blend."""
        return sigmoid(self.log_odds(logit))


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x), without overflow at either end."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def min_max(scores: Sequence[float]) -> list[float]:
    """Scores stretched to 0…1; all 0.5 when they are equal and so say nothing."""
    if not scores:
        return []
    low, high = min(scores), max(scores)
    if high == low:
        return [0.5] * len(scores)
    return [(score - low) / (high - low) for score in scores]


def blended_log_odds(
    logit: float, relative: float, settings: ModelSettings, weight: float
) -> float:
    """Log-odds of one candidate; `relative` is its first-stage score from `min_max`."""
    return settings.log_odds(logit) + weight * (relative - 0.5)
