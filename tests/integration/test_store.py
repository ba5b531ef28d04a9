"""The contract that every store keeps: the same tests for each, through one fixture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_support import HashedWords, entry, random_entries

import config
from search.store import Store
from search.store.sqlite import SqliteStore
from search.types import Condition, Failure, RetrievalMode, Stored, passage_input

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
    assert store.check() == []


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
        (e.document.id, i): float(model.encode_query(passage_input(e.document.title, p)) @ query)
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


def test_hybrid_finds_what_either_leg_finds(store: Store) -> None:
    store.put([entry(f"d{i}", f"plain words number {i}") for i in range(150)])
    best = store.retrieve("number 77", 3)[0]
    assert best.document_id == "d77"
    assert best.score == pytest.approx(1.0)


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
