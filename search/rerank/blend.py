"""The final score: log-odds that a passage answers, from what both stages say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

INPUTS = ("logit", "fused", "cosine", "bm25")
"""What a formula may weigh: the cross-encoder's logit, and the scores of `search.types.Candidate`.

None depends on how many candidates were asked for, so neither does a probability. BM25, which has
no upper end, counts as log(1 + BM25).
"""


@dataclass(frozen=True, slots=True)
class Formula:
    """log-odds = constant + the sum of weight × input, over the inputs that it weighs."""

    constant: float
    weights: Mapping[str, float]

    def __call__(self, inputs: Mapping[str, float]) -> float:
        return self.constant + sum(w * inputs[name] for name, w in self.weights.items())


LOGIT_ALONE = Formula(0.0, {"logit": 1.0})


@dataclass(frozen=True, slots=True)
class Blend:
    """How much each stage counts: the first of the formulas whose inputs are all known is used.

    Formulas without a logit say how sure the first stage is on its own. `embedding` names the model
    whose cosines were weighed: those of another lie elsewhere on the scale.
    """

    formulas: tuple[Formula, ...] = (LOGIT_ALONE,)
    embedding: str | None = None

    def log_odds(
        self,
        logit: float,
        *,
        fused: float | None = None,
        cosine: float | None = None,
        bm25: float | None = None,
    ) -> float:
        """The log-odds that a passage answers, from the cross-encoder's logit and what is known."""
        found = self._apply(logit, fused, cosine, bm25)
        return logit if found is None else found

    def first_stage(
        self,
        *,
        fused: float | None = None,
        cosine: float | None = None,
        bm25: float | None = None,
    ) -> float | None:
        """The log-odds as far as the first stage can tell; None where no formula says so."""
        return self._apply(None, fused, cosine, bm25)

    @property
    def is_fitted(self) -> bool:
        """Whether its log-odds were fitted to outcomes, and are not just the logit."""
        return self.formulas != (LOGIT_ALONE,)

    def probability(self, logit: float) -> float:
        """0–1, from the logit alone."""
        return sigmoid(self.log_odds(logit))

    def with_first_stage(self, factor: float) -> Blend:
        """The same with the first stage's part of each blended score times `factor`; 0: none."""
        return replace(self, formulas=tuple(_scaled(formula, factor) for formula in self.formulas))

    def for_embedding(self, name: str | None) -> Blend:
        """The same without the formulas that weigh cosines, unless they are those of this model."""
        if self.embedding in (None, name):
            return self
        kept = tuple(f for f in self.formulas if "cosine" not in f.weights)
        return replace(self, formulas=kept)

    def _apply(
        self, logit: float | None, fused: float | None, cosine: float | None, bm25: float | None
    ) -> float | None:
        words = None if bm25 is None else math.log1p(max(0.0, bm25))
        values = zip(INPUTS, (logit, fused, cosine, words), strict=True)
        known = {name: value for name, value in values if value is not None}
        for formula in self.formulas:
            reads_pairs = "logit" in formula.weights
            if formula.weights.keys() <= known.keys() and reads_pairs == (logit is not None):
                return formula(known)
        return None


def _scaled(formula: Formula, factor: float) -> Formula:
    if "logit" not in formula.weights:
        return formula
    weights = {n: w if n == "logit" else w * factor for n, w in formula.weights.items()}
    return replace(formula, weights=weights)


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x), without overflow at either end."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
