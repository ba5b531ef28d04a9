"""The two stages: what each gives, and what an answer says of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from fakes import ListStore, TableReranker
from searcher_bench import FOUND, LOGITS, PLAIN, ids, searcher

import config
from search.errors import CheckpointError, ConfigError, InputError
from search.rerank import Blend
from search.rerank.blend import Formula, sigmoid
from search.rerank.provider import RerankerProvider
from search.searcher import Searcher
from search.types import Candidate, Condition, StoreInfo


def test_the_cross_encoder_gives_the_final_order() -> None:
    ranking = searcher().search("how to prevent heart disease")
    assert ids(ranking) == ["heart", "guide", "surgery"]
    assert ranking.reranked
    assert ranking.reason is None
    assert [hit.rank for hit in ranking.hits] == [1, 2, 3]
    assert {"retrieve", "rerank", "total"} <= set(ranking.timings_ms)


def test_a_document_ranks_by_its_best_passage_which_is_the_one_shown() -> None:
    guide = searcher().search("q").hits[1]
    assert guide.candidate.passage_index == 7
    assert guide.logit == 2.0
    assert (guide.retrieval_rank, guide.retrieval_score) == (2, 0.8)


def test_a_score_is_the_sigmoid_of_the_logit_exactly_once() -> None:
    for hit in searcher().search("q").hits:
        assert hit.logit is not None
        assert hit.score == pytest.approx(1 / (1 + math.exp(-hit.logit)))


def test_a_failing_reranker_leaves_the_first_stages_order_and_says_so() -> None:
    def load() -> Any:
        raise CheckpointError("model.safetensors is missing")

    ranking = searcher(load).search("q")
    assert ids(ranking) == ["surgery", "guide", "heart"]
    assert not ranking.reranked
    assert ranking.failed
    assert "model.safetensors is missing" in (ranking.reason or "")
    assert [hit.logit for hit in ranking.hits] == [None, None, None]


@pytest.mark.parametrize("fault", [IndexError("positions"), RuntimeError("x\ny"), MemoryError()])
def test_whatever_a_model_raises_leaves_the_first_stages_order_and_is_logged(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    reranker = TableReranker(LOGITS, PLAIN)
    reranker.fault = fault
    ranking = searcher(lambda: reranker).search("q")
    assert ids(ranking) == ["surgery", "guide", "heart"]
    assert ranking.failed
    assert type(fault).__name__ in (ranking.reason or "")
    assert "\n" not in (ranking.reason or "")
    assert caplog.records[0].exc_info is not None


def test_a_bug_of_ours_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*args: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr("search.stages.final_order", bug)
    with pytest.raises(RuntimeError, match="bug"):
        searcher().search("q")


def test_switched_off_is_not_a_failure() -> None:
    ranking = searcher(rerank=False).search("q")
    assert not ranking.reranked
    assert not ranking.failed
    assert ranking.reason == "reranking is switched off"


def test_limit_threshold_and_the_order_before() -> None:
    ranking = searcher(limit=2).search("q")
    assert len(ranking.hits) == 2
    assert [hit.candidate.document_id for hit in ranking.before] == ["surgery", "guide"]
    assert ids(searcher(threshold=0.9).search("q")) == ["heart"]


def test_nothing_found_is_an_answer() -> None:
    provider = RerankerProvider(lambda: TableReranker({}, PLAIN))
    ranking = Searcher(ListStore([]), provider, config.load(files=[])).search("q")
    assert ranking.hits == ()
    assert not ranking.failed


@pytest.mark.parametrize("query", ["", "  \n"])
def test_an_empty_query_is_refused(query: str) -> None:
    with pytest.raises(InputError, match="empty"):
        searcher().search(query)


def test_arguments_hold_for_one_query_and_are_checked() -> None:
    shared = searcher()
    assert len(shared.search("q", limit=1).hits) == 1
    assert shared.search("q", rerank=False).reason == "reranking is switched off"
    assert not shared.search("q", gate=0.1).reranked
    assert ids(shared.search("q", threshold=0.9)) == ["heart"]
    assert len(shared.search("q").hits) == 3
    gated = searcher(gate=0.1)
    assert not gated.search("q").reranked
    assert gated.search("q", gate=None).reranked
    with pytest.raises(ConfigError, match="'limit'"):
        shared.search("q", limit=0)


def test_the_store_gets_what_the_query_asks_for() -> None:
    asked: list[tuple[Any, ...]] = []

    class Recording(ListStore):
        def retrieve(self, *arguments: Any, **named: Any) -> list[Candidate]:
            asked.append(arguments)
            return super().retrieve(*arguments, **named)

    provider = RerankerProvider(lambda: TableReranker(LOGITS, PLAIN))
    filters = (Condition("language", "=", "en"),)
    Searcher(Recording(FOUND), provider, config.load(files=[])).search(
        "q", filters=filters, candidates=2, retrieval="bm25", alpha=0.9
    )
    assert asked == [("q", 2, filters, "bm25", 0.9)]


def test_an_answer_carries_what_the_store_says_of_itself() -> None:
    """And without a known embedding model no cosine counts, whatever it is."""

    class Foreign(ListStore):
        def describe(self) -> StoreInfo:
            return replace(super().describe(), embedding=None, notes=("made by others",))

    blend = Blend(
        (Formula(0.0, {"cosine": 100.0, "logit": 1.0}), Formula(1.0, {"logit": 1.0})), "m"
    )
    found = Searcher(
        Foreign([replace(one, cosine=0.9, fused=None) for one in FOUND]),
        RerankerProvider(lambda: TableReranker(LOGITS, blend)),
        config.load(files=[]),
    ).search("q")
    assert found.notes == ("made by others",)
    assert found.hits[0].probability == pytest.approx(sigmoid(1 + LOGITS["prevention"]))


def test_probabilities_that_were_fitted_on_nothing_are_called_so() -> None:
    (note,) = searcher().search("q").notes
    assert note.startswith("the probabilities are not calibrated for table")
    assert searcher(rerank=False).search("q").notes == ()


def test_the_end_of_a_query_that_is_too_long_for_its_vector_is_named() -> None:
    (note,) = searcher(rerank=False).search("word " * 57).notes
    assert "7 of its tokens, at the end, are not in its vector" in note
    assert searcher(rerank=False).search("word " * 50).notes == ()
    assert searcher(rerank=False, retrieval="bm25").search("word " * 57).notes == ()


def test_of_a_very_long_query_the_beginning_is_reranked_and_that_is_said() -> None:
    found = searcher().search("word " * 80)
    assert found.reranked is True
    assert any("the reranker read its first 300 of 399 characters" in n for n in found.notes)


def test_a_threshold_that_hides_all_says_what_the_best_has() -> None:
    ranking = searcher(threshold=0.99).search("q")
    assert ranking.hits == ()
    assert "3 documents were found" in (ranking.hint or "")
    assert "0.953" in (ranking.hint or "")  # sigmoid(3)


def test_a_limit_above_what_the_candidates_hold_says_so() -> None:
    (note,) = searcher(rerank=False, limit=3, candidates=2).search("q").notes
    assert note == (
        "fewer documents than the limit of 3: raise candidates, which is 2, to look for more"
    )
    assert searcher(rerank=False, limit=2, candidates=2).search("q").notes == ()
    hidden = searcher(limit=2, candidates=2, threshold=1.0).search("q")
    assert not any("limit" in note for note in hidden.notes), "the threshold hides them"
    assert searcher(rerank=False, limit=10, candidates=5).search("q").notes == (), "that is all"
    assert searcher(rerank=False, limit=10, candidates=4).search("q").notes == (), "all documents"
