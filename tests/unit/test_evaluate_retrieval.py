"""Judged pools by hand, and what makes two stores the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from fakes import ListStore, candidate

import config
from search.errors import InputError
from search.evaluate.retrieval import check_depth, fingerprint, retrieve_pool
from search.types import Candidate, Condition, RetrievalMode, Stored

VECTOR = [
    candidate("out", "near but not judged", 0.95, 1),
    candidate("a", "one", 0.9, 2),
    candidate("b", "two", 0.6, 3),
    candidate("a", "three", 0.5, 4, index=1),
    candidate("c", "four", 0.4, 5),
]
WORDS = [
    candidate("out", "near but not judged", 30.0, 1),
    candidate("c", "four", 12.0, 2),
    candidate("b", "two", 4.0, 3),
]


class TwoRankings(ListStore):
    """A store whose two rankings hold different passages; knows its content hashes."""

    def __init__(self, hashes: Mapping[str, str] | None = None) -> None:
        super().__init__(VECTOR)
        self._hashes = dict(hashes or {})

    def retrieve(
        self,
        query: str,
        k: int,
        filters: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
    ) -> list[Candidate]:
        assert mode != "hybrid", "a pool is fused from its legs"
        return (VECTOR if mode == "near_text" else WORDS)[:k]

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Stored]:
        return {i: Stored(self._hashes[i]) for i in document_ids if i in self._hashes}


def pool(mode: RetrievalMode, alpha: float = 0.5) -> list[tuple[str, int, float]]:
    found = retrieve_pool(TwoRankings(), "q", frozenset("abcx"), 5, mode, alpha)
    assert [c.rank for c in found] == list(range(1, len(found) + 1))
    return [(c.document_id, c.passage_index, round(c.score, 6)) for c in found]


def test_a_pool_is_scaled_over_its_own_passages_and_an_unfound_one_gets_nothing() -> None:
    # vector: a 1, b 0.4, a' 0.2, c 0; BM25: c 1, b 0, the passages of a not found; alpha 0.5.
    # a and c tie at 0.5: the vector leg decides.
    assert pool("hybrid") == [("a", 0, 0.5), ("c", 0, 0.5), ("b", 0, 0.2), ("a", 1, 0.1)]
    assert pool("hybrid", alpha=0.75)[:2] == [("a", 0, 0.75), ("b", 0, 0.3)]


def test_one_leg_keeps_its_own_scores() -> None:
    assert [found[0] for found in pool("near_text")] == ["a", "b", "a", "c"]
    assert pool("near_text")[0] == ("a", 0, 0.9)


def test_bm25_alone_still_ranks_every_judged_document_last_without_a_word() -> None:
    assert [found[:2] for found in pool("bm25")] == [("c", 0), ("b", 0), ("a", 0), ("a", 1)]


def test_a_hybrid_k_beyond_the_fusion_depth_is_refused() -> None:
    check_depth(100, config.load({}))
    check_depth(500, config.load({"retrieval": "near_text"}))
    with pytest.raises(InputError, match="at most 100"):
        check_depth(101, config.load({}))


def test_a_fingerprint_changes_with_any_documents_content() -> None:
    same = [
        fingerprint(TwoRankings({"a": "1", "b": "2"})),
        fingerprint(TwoRankings({"b": "2", "a": "1"})),
    ]
    assert same[0] == same[1]
    assert fingerprint(TwoRankings({"a": "1", "b": "3"})) != same[0]
