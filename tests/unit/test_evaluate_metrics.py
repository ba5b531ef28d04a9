"""Against hand calculation, and against ir_measures on the same run without ties."""

from __future__ import annotations

import math
import random

import ir_measures
import pytest
from evaluate_data import task

from search.evaluate.metrics import Metrics, names

QRELS = {"q1": {"a": 3, "b": 1, "c": 0}, "q2": {"a": 1}, "q3": {"x": 0}}
RUN = {"q1": ["c", "b", "a", "z"], "q9": ["a"], "q3": ["x"]}


def test_by_hand() -> None:
    values = Metrics(QRELS, names([2, 3]))(RUN)
    gained = 1 / math.log2(3) + 3 / math.log2(4)
    assert values["nDCG@10"] == pytest.approx([gained / (3 + 1 / math.log2(3)), 0, 0])
    assert values["RR@5"] == pytest.approx([1 / 2, 0, 0])
    assert values["Success@5"] == pytest.approx([1, 0, 0])
    assert values["R@2"] == pytest.approx([1 / 2, 0, 0])
    assert values["R@3"] == pytest.approx([1, 0, 0])


def test_a_query_missing_from_the_run_counts_as_zero() -> None:
    assert Metrics(QRELS, ["nDCG@10"])({})["nDCG@10"].tolist() == [0, 0, 0]


def test_min_grade_decides_what_is_relevant_but_not_the_gain() -> None:
    values = Metrics(QRELS, names([3], min_grade=2))(RUN)
    assert values["RR(rel=2)@5"] == pytest.approx([1 / 3, 0, 0])
    assert values["R(rel=2)@3"] == pytest.approx([1, 0, 0])
    assert values["nDCG@10"][0] > 0


def test_equal_to_ir_measures_itself() -> None:
    made = task(25, seed=5)
    rng = random.Random(1)
    run = {q: rng.sample([f"d{i}" for i in range(30)], 20) for q in list(made.queries)[3:]}
    measures = names([10, 20])
    qrels = [ir_measures.Qrel(q, d, g) for q, gs in made.qrels.items() for d, g in gs.items()]
    docs = [
        ir_measures.ScoredDoc(q, d, 1 / (1 + place))
        for q, ranking in run.items()
        for place, d in enumerate(ranking)
    ]
    parsed = [ir_measures.parse_measure(name) for name in measures]
    expected = ir_measures.calc_aggregate(parsed, qrels, docs)
    found = Metrics(made.qrels, measures)(run)
    for measure in parsed:
        assert found[str(measure)].mean() == pytest.approx(expected[measure], abs=1e-9)
