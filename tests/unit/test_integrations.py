"""What all integrations share, with neither a framework nor a model."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from fakes import ListStore, TableEncoder, candidate, searcher_over

from search.errors import InputError
from search.integrations import conditions, hit_metadata, passage_id, rerank, run_search
from search.searcher import Searcher
from search.types import Candidate, Condition, Location, Source

FOUND = [
    replace(
        candidate("surgery", "complications", 0.9, 1),
        metadata={"year": 2020, "tags": ("a", "b"), "source": "WHO"},
        source=Source("/notes/all.jsonl", 7),
    ),
    replace(
        candidate("heart", "prevention", 0.8, 2, index=3),
        source=Source("/notes/heart.md"),
        location=Location(line=12, heading="Diet"),
    ),
]


LOGITS = {"complications": -4.0, "prevention": 3.0}


def searcher(found: list[Candidate] = FOUND, **flags: object) -> Searcher:
    return searcher_over(ListStore(found), LOGITS, **flags)


def test_metadata_say_where_a_hit_comes_from_and_how_it_was_ranked() -> None:
    ranking = run_search(searcher(), "q", {})
    heart, surgery = ranking.hits
    assert passage_id(heart) == "heart#3"
    found = hit_metadata(ranking, heart)
    assert 0.9 < found.pop("probability") == found.pop("score") < 1
    (note,) = found.pop("notes")
    assert "not calibrated for table" in note
    assert found == {
        "id": "heart",
        "title": "Heart",
        "source": "/notes/heart.md",
        "line": 12,
        "page": None,
        "heading": "Diet",
        "highlight": [0, len("prevention")],
        "also_in": [],
        "rank": 1,
        "retrieval_rank": 2,
        "retrieval_score": 0.8,
        "reranked": True,
        "reason": None,
    }
    assert hit_metadata(ranking, surgery)["line"] == 7


def test_a_field_of_the_documents_own_is_kept_beside_ours_and_all_is_json() -> None:
    ranking = run_search(searcher(), "q", {})
    found = hit_metadata(ranking, ranking.hits[1])
    assert (found["source"], found["metadata.source"]) == ("/notes/all.jsonl", "WHO")
    assert (found["year"], found["tags"]) == (2020, ["a", "b"])
    assert json.loads(json.dumps(found)) == found


def test_arguments_pass_through_and_none_is_as_the_settings_say() -> None:
    ours = searcher(limit=2)
    assert len(run_search(ours, "q", {"limit": None, "filters": None}).hits) == 2
    assert len(run_search(ours, "q", {"limit": 1}).hits) == 1
    with pytest.raises(TypeError, match="candidate"):
        run_search(ours, "q", {"candidate": 5})


def test_none_is_passed_on_where_it_means_never() -> None:
    ours = searcher(gate=0.0)
    gated = run_search(ours, "q", {})
    assert gated.cause == "gate"
    assert run_search(ours, "q", {"gate": None}).reranked is True


def test_filters_are_text_or_conditions() -> None:
    given = Condition("lang", "=", "en")
    assert conditions(["year>=2020", given]) == (Condition("year", ">=", 2020), given)
    assert conditions("year>=2020") == (Condition("year", ">=", 2020),)
    assert conditions(given) == (given,)
    with pytest.raises(InputError, match="filter 'year' is not"):
        conditions("year")


def test_a_failed_reranking_is_logged_and_in_the_metadata(caplog: pytest.LogCaptureFixture) -> None:
    unknown = candidate("new", "a passage that the table lacks", 0.9, 1)
    with caplog.at_level(logging.WARNING, "search.integrations"):
        ranking = run_search(searcher([unknown]), "q", {})
    found = hit_metadata(ranking, ranking.hits[0])
    assert (found["reranked"], found["probability"]) == (False, None)
    assert "the reranker failed: KeyError" in found["reason"]
    assert any("the first stage's order" in message for message in caplog.messages)


def test_reranking_gives_positions_best_first() -> None:
    encoder = TableEncoder({"wrong": -2.0, "right": 2.0, "near": 0.0})
    texts = [("", "wrong"), ("A title", "right"), ("", "near")]
    (first, best), (second, next_best) = rerank(encoder, "q", texts, 2)
    assert (first, second) == (1, 2)
    assert best["probability"] == pytest.approx(0.8808, abs=1e-4)
    assert best | {"probability": None} == {
        "rank": 1,
        "probability": None,
        "retrieval_rank": 2,
        "reranked": True,
        "reason": None,
    }
    assert (next_best["rank"], next_best["retrieval_rank"]) == (2, 3)


def test_where_reranking_fails_texts_stay_as_given(caplog: pytest.LogCaptureFixture) -> None:
    ranked = rerank(TableEncoder({}), "q", [("", "one"), ("", "two"), ("", "three")], 2)
    assert [index for index, _ in ranked] == [0, 1]
    for _, found in ranked:
        assert (found["reranked"], found["probability"]) == (False, None)
        assert found["reason"] == "the reranker failed: KeyError: 'one'"
    assert "the order is the one given" in caplog.text


def test_a_query_that_the_model_cannot_read_is_not_scored() -> None:
    ((index, found),) = rerank(TableEncoder({"one": 9.0}), "心臓病", [("", "one")], None)
    assert (index, found["reranked"], found["probability"]) == (0, False, None)
    assert found["reason"] == "the reranker cannot read this query (Han)"


def test_a_top_k_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="top_k=0"):
        rerank(TableEncoder({}), "q", [("", "one")], 0)
