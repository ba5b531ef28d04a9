"""Derived runs against the searcher itself, given the same candidates and logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
from evaluate_data import candidates, logit, scored, task
from fakes import ListStore

import config
from search.evaluate import derive
from search.evaluate.derive import Pipeline
from search.rerank import Blend, Scored
from search.rerank.blend import Formula
from search.rerank.provider import RerankerProvider
from search.searcher import Searcher
from search.types import passage_input

MODEL = Blend(
    (
        Formula(-0.4, {"logit": 1.3, "fused": 2.0, "cosine": 1.0}),
        Formula(-0.4, {"logit": 1.3}),
        Formula(-1.0, {"fused": 1.0}),
    )
)
MADE = task(12, seed=3)
PASSES = scored(MADE)


class PassageReranker:
    """The logits of the made-up pass."""

    blend = MODEL
    info: ClassVar[dict[str, str | int]] = {}

    def readable(self, query: str) -> str:
        return query

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        return [Scored(logit(query, text), (0, len(text))) for query, text in pairs]


def searched(query_id: str, k: int, **flags: object) -> list[str]:
    """What `search` answers from scratch, with these settings; evaluation reads all candidates."""
    settings = config.load({"candidates": k, "limit": 1000, "early_stop": False, **flags})
    store = ListStore(candidates(query_id))
    searcher = Searcher(store, RerankerProvider(PassageReranker, blend=lambda: MODEL), settings)
    hits = searcher.search(MADE.queries[query_id]).hits
    return [hit.candidate.document_id for hit in hits]


def test_the_made_up_logits_are_those_of_the_passage_input() -> None:
    found = candidates("q0")
    assert PASSES[0].logits == tuple(
        logit(MADE.queries["q0"], passage_input(c.title, c.passage)) for c in found
    )


@pytest.mark.parametrize("k", [1, 3, 10, 20, 50])
@pytest.mark.parametrize("factor", [0.0, 0.7, 1.0, 5.0])
def test_every_k_and_blend_equals_a_search_from_scratch(k: int, factor: float) -> None:
    for row in PASSES:
        expected = searched(row.query_id, k, blend=factor)
        assert derive.reranked(row, k, MODEL.with_first_stage(factor)) == expected


@pytest.mark.parametrize("k", [1, 3, 20])
def test_the_first_stage_equals_a_search_without_reranking(k: int) -> None:
    for row in PASSES:
        assert derive.first_stage(row, k) == searched(row.query_id, k, rerank=False)


@pytest.mark.parametrize("gate", [0.0, 0.05, 0.1, 0.2, 10.0])
def test_every_gate_equals_a_search_from_scratch(gate: float) -> None:
    run = derive.final(PASSES, Pipeline(10, 3.0, gate), MODEL)
    for query_id, ranking in run.items():
        assert ranking == searched(query_id, 10, blend=3.0, gate=gate)


def test_the_gates_above_tell_queries_apart() -> None:
    kept = [
        int(derive.keeps_first_stage(derive.margins(PASSES, 10, MODEL), gate).sum())
        for gate in (0.0, 0.05, 0.1, 0.2, 10.0)
    ]
    assert kept[0] == len(PASSES)
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] == 0
    assert len(set(kept)) > 3
    assert not derive.keeps_first_stage(np.array([0.0, 9.0]), None).any()


def test_a_shuffle_has_the_same_documents_and_depends_on_its_seed_only() -> None:
    row = PASSES[0]
    first = derive.shuffled(row, 20, seed=1)
    assert sorted(first) == sorted(derive.first_stage(row, 20))
    assert first == derive.shuffled(row, 20, seed=1) != derive.shuffled(row, 20, seed=2)
