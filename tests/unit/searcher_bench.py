"""A searcher over four passages and a table of logits, for the tests of the searcher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fakes import ListStore, TableReranker, candidate

import config
from search.rerank import Blend
from search.rerank.blend import Formula
from search.rerank.provider import RerankerProvider
from search.searcher import Searcher

PLAIN = Blend()
FOUND = [
    candidate("surgery", "complications", 0.9, 1),
    candidate("guide", "index", 0.8, 2),
    candidate("guide", "prevention, deep in the text", 0.7, 3, index=7),
    candidate("heart", "prevention", 0.6, 4),
]
LOGITS = {
    "complications": -4.0,
    "index": -1.0,
    "prevention, deep in the text": 2.0,
    "prevention": 3.0,
}


def searcher(
    load: Callable[[], Any] | None = None, model: Blend = PLAIN, **flags: object
) -> Searcher:
    reranker = TableReranker(LOGITS, model)
    provider = RerankerProvider(load or (lambda: reranker))
    return Searcher(ListStore(FOUND), provider, config.load(flags, files=[]))


def ids(ranking: Any) -> list[str]:
    return [hit.candidate.document_id for hit in ranking.hits]


def blend(constant: float, **weights: float) -> Blend:
    return Blend((Formula(constant, weights), Formula(0.0, {"logit": 1.0})))
