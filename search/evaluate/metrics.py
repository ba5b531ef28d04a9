"""The field's measures, per query, computed by `ir_measures`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import ir_measures
import numpy as np
from numpy.typing import NDArray

from search.evaluate.data import Qrels

Run = Mapping[str, Sequence[str]]
"""query id → document ids, best first."""

PerQuery = NDArray[np.float64]
"""One value per query, in the order of the qrels."""

MAIN = "nDCG@10"


def names(cutoffs: Iterable[int], min_grade: int = 1) -> list[str]:
    """nDCG@10, RR@5, Success@5 and R@K for each cutoff, as `ir_measures` writes them.

    `min_grade` is the lowest grade that counts as relevant; nDCG always uses the grades themselves.
    """
    rel = f"(rel={min_grade})" if min_grade > 1 else ""
    return [MAIN, f"RR{rel}@5", f"Success{rel}@5", *(f"R{rel}@{k}" for k in sorted(set(cutoffs)))]


class Metrics:
    """Measures runs against one set of judgments."""

    def __init__(self, qrels: Qrels, measures: Sequence[str]) -> None:
        self.measures = list(measures)
        self._rows = {query_id: row for row, query_id in enumerate(qrels)}
        self._parsed = {ir_measures.parse_measure(name): name for name in measures}
        judgments = [
            ir_measures.Qrel(query_id, document_id, grade)
            for query_id, grades in qrels.items()
            for document_id, grade in grades.items()
        ]
        self._evaluator = ir_measures.evaluator(list(self._parsed), judgments)

    def __call__(self, run: Run) -> dict[str, PerQuery]:
        """measure → values (queries,); a query that is missing from the run has 0."""
        values = {name: np.zeros(len(self._rows)) for name in self.measures}
        for result in self._evaluator.iter_calc(_decreasing(run)):
            if result.query_id in self._rows:
                name = self._parsed[result.measure]
                values[name][self._rows[result.query_id]] = result.value
        return values


def _decreasing(run: Run) -> Iterable[ir_measures.ScoredDoc]:
    """Ranks as scores, strictly decreasing: ir_measures' back ends break ties differently."""
    return [
        ir_measures.ScoredDoc(query_id, document_id, float(len(ranking) - rank))
        for query_id, ranking in run.items()
        for rank, document_id in enumerate(ranking)
    ]
