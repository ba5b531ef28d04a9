"""Fits a blend: how much a model's logit and each of the first stage's scores count.

The weights put each query's relevant candidates first (a softmax over its list, every set counting
alike); slope and constant then make log-odds of the sum, by Platt's method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from search.errors import InputError
from search.evaluate import calibration
from search.evaluate.data import Task
from search.evaluate.derive import best_values
from search.evaluate.scoring import ScoredQuery
from search.rerank import Blend
from search.rerank.blend import Formula

Passes = Sequence[tuple[Task, Sequence[ScoredQuery]]]
Values = NDArray[np.float64]

SHAPES = (
    ("logit", "fused", "cosine"),
    ("logit", "fused"),
    ("logit", "cosine"),
    ("logit", "bm25"),
    ("logit",),
    ("fused", "cosine"),
    ("fused",),
    ("cosine",),
    ("bm25",),
)
"""What each formula weighs, in the order in which they are tried. Hybrid search in the embedded
store gives all four inputs, and BM25 beside the fused score added nothing on dev; the others serve
where a store or a way of retrieval gives less."""

SCALES = {"logit": 1.0, "fused": 5.0, "cosine": 10.0, "bm25": 1.0}
"""Rough sizes of the inputs' ranges, so that one penalty suits all weights."""

FIRST_STAGE = 0.6
"""The first stage's weights beside a logit are the likeliest ones times this: on ten sets held out,
nDCG@10 was best so (0.4 and 0.8: 0.001 to 0.002 less; 0.2: 0.007 less)."""

PENALTY = 1e-3
"""Of the squared weights; anything from 1e-4 to 1e-2 gave the same on dev."""

DIGITS = 3


def fit_blend(
    dev: Passes,
    k: int,
    min_grade: int = 1,
    embedding: str | None = None,
    calibrate_on: Passes | None = None,
) -> Blend:
    """The formulas for whatever these passes know of their candidates, of which the first k count.

    `calibrate_on` are the sets that log-odds are fitted on (None: all): sets that judge one answer
    a query make every other answer a wrong one. Raises InputError without relevant candidates, or
    where the model's order is wrong.
    """
    formulas = []
    for shape in SHAPES:
        if not all(_knows(passes, shape) for _, passes in dev):
            continue
        weights = _weights(dev, shape, k)
        if shape == ("logit",) and not weights.weights["logit"]:
            raise InputError(
                "the blend cannot be fitted: this model scores relevant documents no higher than "
                "others on these sets, so its order is of no use here"
            )
        try:
            formulas.append(_calibrated(calibrate_on or dev, weights, k, min_grade))
        except InputError:
            if shape == ("logit",):
                raise  # without it the model is of no use; inputs that say nothing are left out
    return Blend(tuple(formulas), embedding)


def inputs(scored: ScoredQuery, shape: Sequence[str], k: int) -> Values:
    """(candidates, inputs), as `Blend` reads them."""
    values: Mapping[str, Sequence[float | None]] = {
        "logit": scored.logits,
        "fused": scored.fused,
        "cosine": scored.cosines,
        "bm25": [None if x is None else float(np.log1p(max(0.0, x))) for x in scored.bm25],
    }
    return np.array([values[name][:k] for name in shape], dtype=np.float64).T


def _knows(passes: Sequence[ScoredQuery], shape: Sequence[str]) -> bool:
    return all(np.isfinite(inputs(scored, shape, len(scored.scores))).all() for scored in passes)


def _weights(dev: Passes, shape: Sequence[str], k: int) -> Formula:
    """By maximum likelihood of the relevant candidates, each as likely as its grade is high."""
    scale = np.array([SCALES[name] for name in shape])
    lists = []
    for task, passes in dev:
        found = []
        for scored in passes:
            grades = task.qrels[scored.query_id]
            wanted = np.array([grades.get(i, 0) for i in scored.document_ids[:k]], dtype=float)
            if wanted.sum() > 0:
                found.append((inputs(scored, shape, k) * scale, wanted / wanted.sum()))
        lists += [(x, wanted, 1 / len(found) / len(dev)) for x, wanted in found]
    if not lists:
        raise InputError("the blend cannot be fitted: no query has a relevant candidate")

    def loss(weights: Values) -> tuple[float, Values]:
        total, gradient = PENALTY * float(weights @ weights), 2 * PENALTY * weights
        for x, wanted, share in lists:
            z = x @ weights
            odds = np.exp(z - z.max())
            given = odds / odds.sum()
            total += share * float(np.log(odds.sum()) + z.max() - wanted @ z)
            gradient = gradient + share * (x.T @ (given - wanted))
        return total, gradient

    start = np.zeros(len(shape))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(shape)).x
    if shape[0] == "logit":
        found[1:] *= FIRST_STAGE
    return Formula(0.0, dict(zip(shape, (found * scale).tolist(), strict=True)))


def _calibrated(dev: Passes, formula: Formula, k: int, min_grade: int) -> Formula:
    """The formula with slope and constant such that its sums are log-odds."""
    weights = np.array(list(formula.weights.values()))
    pages = [
        calibration.page(
            task,
            scored,
            best_values(scored, (inputs(scored, list(formula.weights), k) @ weights).tolist()),
            least,
        )
        for task, passes, least in ((t, p, t.least_grade(min_grade)) for t, p in dev)
        for scored in passes
    ]
    slope, constant = calibration.platt(*calibration.joined(pages))
    scaled = {name: round(slope * w, DIGITS) for name, w in formula.weights.items()}
    return Formula(round(constant, DIGITS), scaled)
