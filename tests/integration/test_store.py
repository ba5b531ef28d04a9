"""The contract that every store keeps: the same tests for each, through one fixture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_support import HashedWords, entry, random_entries

import config
from search.errors import InputError
from search.store import Store
from search.store.sqlite import SqliteStore
from search.types import (
    Condition,
    Document,
    Entry,
    Failure,
    Location,
    Passage,
    RetrievalMode,
    Source,
    Stored,
    passage_input,
)

MODES: list[RetrievalMode] = ["hybrid", "near_text", "bm25"]
STORES = ["sqlite", "weaviate"]


@contextmanager
def made(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store of this kind, in a file or a class of its own."""
    if kind == "sqlite":
        yield (store := SqliteStore(folder / "store.db", HashedWords(), create=True))
        store.close()
        return
    server = request.getfixturevalue("weaviate_server")
    drop_collection = request.getfixturevalue("drop_collection")
    from search.store.weaviate.store import WeaviateStore

    name = f"Contract{uuid4().hex[:12]}"
    own = {"weaviate.collection": name, "weaviate.vectorizer": "none"}
    store = WeaviateStore(config.load(server.flags | own), HashedWords, create=True)
    yield store
    store.close()
    drop_collection(name)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with made(request.param, tmp_path, request) as store:
        yield store


@pytest.fixture(scope="module", params=STORES)
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A store of 300 documents that no test changes."""
    with made(request.param, tmp_path_factory.mktemp("filled"), request) as store:
        assert store.put(random_entries(300)) == []
        yield store


def test_what_was_put_is_there(store: Store) -> None:
    assert store.put([entry("a", "one", "two", version="h1"), entry("b", "three")]) == []
    assert sorted(store.ids()) == ["a", "b"]
    assert store.stored(["a", "c", "\ud800"]) == {"a": Stored("h1")}
    info = store.describe()
    assert (info.documents, info.passages) == (2, 3)
    assert store.check(None) == []


def test_a_list_goes_on_behind_a_document(store: Store) -> None:
    store.put([entry(f"d{i}", f"text number {i}") for i in range(5)])
    whole = [one.id for one in store.documents()]
    assert [one.id for one in store.documents(after=whole[1])] == whole[2:]
    assert list(store.documents(after=whole[-1])) == []
    for unknown in ("nobody", "\ud800"):
        with pytest.raises(InputError, match="to go on after"):
            list(store.documents(after=unknown))


def test_documents_are_listed_and_given_back(store: Store) -> None:
    tags: dict[str, Any] = {"year": 2020, "tags": ("x", "y")}
    first = entry("a", "one", "two", title="Title", version="h1", **tags)
    store.put([first, entry("b", "three")])
    listed = sorted(store.documents(), key=lambda one: one.id)
    assert [(one.id, one.title, one.passages) for one in listed] == [
        ("a", "Title", 2),
        ("b", "", 1),
    ]
    found = store.get("a")
    assert found is not None
    assert (found.id, found.title, found.content_hash) == ("a", "Title", "h1")
    assert [passage.text for passage in found.passages] == ["one", "two"]
    assert found.metadata == tags
    assert store.get("c") is None
    assert store.get("\ud800") is None


def test_sources_and_locations_are_kept(store: Store) -> None:
    source, where = Source("/data/corpus.jsonl", 7), Location(3, 2, "Heading")
    passages = (Passage("heart", where), Passage("stroke", None, 6))
    document = Document("a", "", "heart stroke", {}, source)
    store.put([Entry(document, passages, "1"), entry("b", "asthma")])
    assert store.stored(["a", "b"]) == {"a": Stored("1", source), "b": Stored("1")}
    assert {one.id: one.source for one in store.documents()} == {"a": source, "b": None}
    found = store.get("a")
    assert found is not None
    assert (found.source, found.passages) == (source, passages)
    best = store.retrieve("heart", 1)[0]
    assert (best.source, best.location) == (source, where)
    moved = Document("a", "", "heart stroke", {}, Source("-"))
    store.put([Entry(moved, passages[:1], "2")])
    assert store.stored(["a"]) == {"a": Stored("2", Source("-"))}


def test_a_document_moves_to_another_source_as_it_is(store: Store) -> None:
    passages = (Passage("heart", Location(3)), Passage("stroke"))
    store.put([Entry(Document("a", "T", "heart stroke", {"x": 1}), passages, "1"), entry("b", "c")])
    before = store.get("a")
    assert before is not None
    store.move({"a": Source("/data/new.jsonl", 9)})
    store.move({})
    assert store.get("a") == replace(before, source=Source("/data/new.jsonl", 9))
    assert store.stored(["b"]) == {"b": Stored("1")}
    assert store.retrieve("T heart", 1, mode="near_text")[0].passage == "heart"
    assert store.check(None) == []


def test_the_fields_and_their_kinds_are_told(store: Store) -> None:
    assert store.fields() == {}
    store.put([entry("a", "x", year=2020, lang="en", open=True, tags=("x", 1))])
    store.put([entry("b", "x", year="2020", ratio=0.5)])
    assert store.fields() == {
        "year": {"number", "text"},
        "lang": {"text"},
        "open": {"boolean"},
        "tags": {"text", "number"},
        "ratio": {"number"},
    }


def test_candidates_carry_the_document(store: Store) -> None:
    metadata = {"year": 2020, "ratio": 0.5, "open": True, "lang": "en", "tags": ("x", "y")}
    identity = 'a "strange"/ид\n#1'
    store.put([entry(identity, "first words", "salt and stroke", title="Title", **metadata)])
    (found,) = store.retrieve("stroke", 1)
    assert (found.document_id, found.passage_index) == (identity, 1)
    assert (found.title, found.passage, found.rank) == ("Title", "salt and stroke", 1)
    assert found.metadata == metadata


@pytest.mark.parametrize("mode", MODES)
def test_ranks_and_scores_fall_in_step(filled: Store, mode: RetrievalMode) -> None:
    # The embedded store scans its file for a first query and has vectors in memory for the next
    # ones, which differ in the sixth decimal.
    filled.retrieve("heart disease prevention", 1, mode=mode)
    found = filled.retrieve("heart disease prevention", 40, mode=mode)
    assert [c.rank for c in found] == list(range(1, 41))
    scores = [c.score for c in found]
    assert scores == sorted(scores, reverse=True)
    # Scores, not passages: stores may order equal scores differently.
    fewer = filled.retrieve("heart disease prevention", 7, mode=mode)
    assert [c.score for c in fewer] == pytest.approx(scores[:7], abs=1e-6)


def test_near_text_is_exact(filled: Store) -> None:
    model = HashedWords()
    query = model.encode_query("salt and sleep")
    similarity = {
        (e.document.id, i): float(
            model.encode_query(passage_input(e.document.title, p.text)) @ query
        )
        for e in random_entries(300)
        for i, p in enumerate(e.passages)
    }
    found = filled.retrieve("salt and sleep", 100, mode="near_text")
    expected = sorted(similarity.values(), reverse=True)[:100]
    assert [c.score for c in found] == pytest.approx(expected, abs=1e-6)
    for c in found:
        assert c.score == pytest.approx(similarity[c.document_id, c.passage_index], abs=1e-6)


def test_bm25_finds_words_in_text_and_title(store: Store) -> None:
    store.put([entry("text", "about asthma"), entry("title", "other words", title="Asthma")])
    store.put([entry(f"other{i}", "nothing of the kind") for i in range(5)])
    assert {c.document_id for c in store.retrieve("ASTHMA!", 9, mode="bm25")} == {"text", "title"}


def test_hybrid_finds_what_either_ranking_finds(store: Store) -> None:
    store.put([entry(f"d{i}", f"plain words number {i}") for i in range(150)])
    best = store.retrieve("number 77", 3)[0]
    assert best.document_id == "d77"
    assert best.score == pytest.approx(1.0)


def test_alpha_is_chosen_for_each_query(filled: Store) -> None:
    query = "heart diet n7p1"
    near = filled.retrieve(query, 5, mode="near_text")
    words = filled.retrieve(query, 5, mode="bm25")
    by_vector = filled.retrieve(query, 5, alpha=1.0)
    by_words = filled.retrieve(query, 5, alpha=0.0)
    assert by_vector[0].passage == near[0].passage
    assert by_words[0].passage == words[0].passage
    assert [c.score for c in by_vector] != [c.score for c in by_words]


@pytest.mark.parametrize("mode", MODES)
def test_the_two_rankings_are_told_apart(filled: Store, mode: RetrievalMode) -> None:
    """What a ranking says of a passage does not hang on which ranking found it."""
    query = "heart diet n7p1"

    def scores(alone: RetrievalMode) -> dict[tuple[str, int], float]:
        found = filled.retrieve(query, 600, mode=alone)
        return {(c.document_id, c.passage_index): c.score for c in found}

    cosine, bm25 = scores("near_text"), scores("bm25")
    found = filled.retrieve(query, 40, mode=mode)
    assert len(found) == 40
    for c in found:
        passage = (c.document_id, c.passage_index)
        if mode == "near_text":
            assert (c.cosine, c.bm25) == (c.score, None)
        elif mode == "bm25":
            assert (c.cosine, c.bm25) == (None, c.score)
        else:
            assert c.cosine == pytest.approx(cosine[passage], abs=1e-5)
            assert c.bm25 == pytest.approx(bm25.get(passage, 0.0), abs=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_filters_act_before_the_top_k(filled: Store, mode: RetrievalMode) -> None:
    everything = filled.retrieve("heart diet", 600, mode=mode)
    expected = [c.score for c in everything if c.metadata["year"] == 2007]
    assert len(expected) > 5
    found = filled.retrieve("heart diet", 5, [Condition("year", "=", 2007)], mode)
    assert len(found) == 5
    if mode != "hybrid":  # a hybrid score is relative to the results that it is fused from
        assert [c.score for c in found] == pytest.approx(expected[:5], abs=1e-6)
    assert {c.metadata["year"] for c in found} == {2007}


def test_filters_of_a_range_and_of_absent_fields(filled: Store) -> None:
    years = [Condition("year", ">=", 2003), Condition("year", "<=", 2004)]
    assert {c.metadata["year"] for c in filled.retrieve("pain", 300, years)} == {2003, 2004}
    assert filled.retrieve("pain", 5, [Condition("absent", "!=", 1)]) == []


def test_a_list_matches_by_any_member_and_differs_by_all(store: Store) -> None:
    store.put([entry("ab", "x", tag=("a", "b")), entry("c", "x", tag=("c",)), entry("no", "x")])

    def ids(condition: Condition) -> set[str]:
        return {c.document_id for c in store.retrieve("x", 9, [condition])}

    assert ids(Condition("tag", "=", "b")) == {"ab"}
    assert ids(Condition("tag", "!=", "b")) == {"c"}


def test_a_shorter_version_leaves_nothing_of_the_longer(store: Store) -> None:
    store.put([entry("a", "old heart", "old asthma", "old stroke", version="1", kind="old")])
    store.put([entry("a", "new heart", version="2", kind="new")])
    assert store.stored(["a"]) == {"a": Stored("2")}
    assert store.describe().passages == 1
    assert store.retrieve("asthma stroke", 9, mode="bm25") == []
    assert [c.passage for c in store.retrieve("old asthma", 9, mode="near_text")] == ["new heart"]
    assert store.retrieve("heart", 9, [Condition("kind", "=", "old")]) == []
    assert store.check() == []


def test_the_later_of_two_versions_in_a_batch_wins(store: Store) -> None:
    store.put([entry("a", "one", "two", version="1"), entry("a", "three", version="2")])
    assert store.stored(["a"]) == {"a": Stored("2")}
    assert store.describe().passages == 1


def test_delete_takes_passages_along(store: Store) -> None:
    store.put([entry("a", "heart", "asthma"), entry("b", "heart")])
    assert store.delete(["a", "a", "unknown", "\ud800"]) == 1
    assert list(store.ids()) == ["b"]
    assert {c.document_id for c in store.retrieve("heart asthma", 9)} == {"b"}
    assert store.describe().passages == 1
    assert store.check() == []


def test_what_cannot_be_stored_is_named_and_the_rest_is_stored(store: Store) -> None:
    good, empty = entry("good", "text"), entry("empty")
    surrogate, nan = entry("half", "a \ud83d b"), entry("nan", "text", ratio=float("nan"))
    failures = store.put([empty, good, surrogate, nan])
    assert [f.document_id for f in failures] == ["empty", "half", "nan"]
    assert all(isinstance(f, Failure) and f.reason for f in failures)
    assert list(store.ids()) == ["good"]
    assert store.check() == []


def test_an_empty_store_answers(store: Store) -> None:
    assert store.put([]) == []
    assert list(store.ids()) == []
    assert store.check() == []
    for mode in MODES:
        assert store.retrieve("anything", 5, mode=mode) == []


def test_ids_stream_while_documents_are_put_and_deleted(store: Store) -> None:
    store.put([entry(f"d{i}", "text") for i in range(1500)])
    stream = store.ids()
    seen = [next(stream)]
    store.put([entry("d1400", "changed")])
    store.delete(["d1300"])
    seen += stream
    assert len(seen) == len(set(seen))
    assert set(seen) >= {f"d{i}" for i in range(1500)} - {"d1300"}


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(query=st.text(), mode=st.sampled_from(MODES))
def test_any_query_is_answered(filled: Store, query: str, mode: RetrievalMode) -> None:
    assert len(filled.retrieve(query, 3, mode=mode)) <= 3
