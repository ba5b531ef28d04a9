"""The rankings of the one-file store: their formulas, their words, and what is held in memory."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from store_support import HashedWords, create, entry, random_entries

from search.errors import StoreError
from search.store import sqlite
from search.store.sqlite import SqliteStore
from search.store.sqlite import memory as memory_module
from search.store.sqlite.connection import connect
from search.store.sqlite.expressions import match_terms
from search.store.sqlite.memory import Lookup, Memory
from search.store.sqlite.rankings import Query, Scan
from search.types import Condition, Kind


def test_bm25_is_the_textbook_formula(tmp_path: Path) -> None:
    """Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75; a word in the title counts twice."""
    entries = random_entries(200, seed=1)
    store = create(tmp_path / "s.db")
    store.put(random_entries(200, seed=2))
    store.put(entries)  # replaces them all: what is gone must not count
    texts = [(e.document.title.split(), p.text.split()) for e in entries for p in e.passages]
    average = sum(len(title) + len(text) for title, text in texts) / len(texts)

    def weight(word: str) -> float:
        containing = sum(word in title + text for title, text in texts)
        return max(1e-6, math.log((len(texts) - containing + 0.5) / (containing + 0.5)))

    def score(title: list[str], text: list[str]) -> float:
        length = 1.2 * (1 - 0.75 + 0.75 * (len(title) + len(text)) / average)
        counts = {w: 2 * title.count(w) + text.count(w) for w in ("asthma", "n7p1")}
        return sum(weight(w) * n * 2.2 / (n + length) for w, n in counts.items())

    expected = sorted((score(*pair) for pair in texts), reverse=True)[:50]
    found = store.retrieve("asthma n7p1", 50, mode="bm25")
    assert found[0].passage.endswith("n7p1")
    assert [c.score for c in found] == pytest.approx(expected, rel=1e-6)
    store.close()


@pytest.mark.parametrize(
    ("language", "finds"), [("en", {"run", "runs"}), ("de", {"run"})], ids=["english", "other"]
)
def test_words_are_those_of_the_language(tmp_path: Path, language: str, finds: set[str]) -> None:
    """English is stemmed, and its commonest words are left out of queries; others are not."""
    path = tmp_path / "s.db"
    store = SqliteStore(path, HashedWords(), language=language, create=True)
    store.put([entry("run", "run"), entry("runs", "runs"), entry("the", "the")])
    names = {c.document_id for c in store.retrieve("the run", 9, mode="bm25")}
    assert names == finds | ({"the"} if language == "de" else set())
    store.repair()
    store.close()
    for make in (True, False):
        with pytest.raises(StoreError, match="Set `language` back"):
            SqliteStore(path, HashedWords(), language="fr", create=make)


def found(store: SqliteStore, query: str, *filters: Condition) -> dict[str, float]:
    """Everything that the filters let through; and the best 20 are the first of it."""
    every = store.retrieve(query, 1000, filters, "near_text")
    scores = [hit.score for hit in every]
    assert scores == sorted(scores, reverse=True)
    best = store.retrieve(query, 20, filters, "near_text")
    assert [hit.score for hit in best] == pytest.approx(scores[:20], abs=1e-5)
    return {hit.document_id: hit.score for hit in every}


def test_vectors_in_memory_give_what_a_scan_gives(tmp_path: Path) -> None:
    """The first query of a process scans, the second reads all vectors, later ones use them."""
    rng = random.Random(3)
    entries = [
        entry(f"d{i}", f"{word} {rng.random()}", year=1900 + i % 90, kept=i % 2 == 0)
        for i, word in enumerate(rng.choices(["heart", "salt", "risk diet", "stroke"], k=300))
    ]
    with closing(create(tmp_path / "s.db")) as store:
        store.put(entries)
    cases: list[tuple[Condition, ...]] = [
        (),
        (Condition("year", ">=", 1950),),
        (Condition("year", "=", 1901),),
        (Condition("kept", "=", True),),
        (Condition("kept", "=", 1),),
        (Condition("year", "=", 1), Condition("kept", "=", True)),
    ]
    scanned = []
    for filters in cases:
        with closing(SqliteStore(tmp_path / "s.db", HashedWords())) as store:
            scanned.append(found(store, "salt risk", *filters))
    with closing(SqliteStore(tmp_path / "s.db", HashedWords())) as store:
        for _ in range(3):
            for filters, expected in zip(cases, scanned, strict=True):
                assert found(store, "salt risk", *filters) == pytest.approx(expected, abs=1e-5)
        held = store._memory._snapshot
        assert held is not None
        assert held.vectors is not None


TEXTS = {
    "en": ["heart", "hearts", "risk", "riskier", "the", "salt", "Salz", "ß", "n1", "n2", "n3"],
    "de": ["Herz", "Herzen", "Salz", "salz", "und", "Blutdruck", "n1", "n2", "n3"],
    "zh": ["高血压", "血压", "高", "癌", "癌症", "BP", "心脏病", "心", "n1"],
}


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("seed", range(3))
def test_words_in_memory_give_what_fts5_gives(tmp_path: Path, language: str, seed: int) -> None:
    """To the last bit and in the same order: deletions, filters, titles, equal scores, each k."""
    rng = random.Random(seed)

    def text(longest: int) -> str:
        # Some words far more often than others, as in any language.
        weights = [1 / (1 + i) ** 2 for i in range(len(TEXTS[language]))]
        return " ".join(rng.choices(TEXTS[language], weights, k=rng.randrange(1, longest)))

    path = tmp_path / "s.db"
    with closing(SqliteStore(path, HashedWords(), language=language, create=True)) as store:
        for _ in range(2):  # the second time replaces half of them
            store.put(
                [
                    entry(f"d{i}", text(30), text(9), title=text(4), year=rng.randrange(9))
                    for i in rng.sample(range(400), 300)
                ]
            )
        store.delete([f"d{i}" for i in range(0, 400, 7)])
    with closing(connect(path, read_only=True)) as connection:
        memory = Memory()
        for _ in range(40):
            terms = match_terms(text(6), language)
            filters = rng.choice([(), (Condition("year", "<", 3),), (Condition("year", "=", 99),)])
            query = Query(None, terms, filters)
            scan = Scan(connection, query)
            read = memory.rankings(connection, query)
            k = rng.choice([1, 5, 100, 1000])
            assert list(read.bm25(k).items()) == list(scan.bm25(k).items())
            some = rng.sample([key for (key,) in connection.execute("SELECT key FROM passages")], 9)
            assert read.bm25_of(some) == scan.bm25_of(some)
        assert isinstance(read, Lookup)


def test_words_are_forgotten_where_they_take_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "MAX_WORD_BYTES", 1500)
    with closing(create(tmp_path / "s.db")) as store:
        store.put([entry("d1", "heart salt risk stroke diet")])
        for _ in range(2):
            for word in ("heart", "salt", "risk", "stroke"):
                assert [c.document_id for c in store.retrieve(word, 1, mode="bm25")] == ["d1"]
        held = store._memory._snapshot
        assert held is not None
        assert list(held.words) == ['"risk"', '"stroke"']


def test_a_word_index_of_other_passages_is_scanned(tmp_path: Path) -> None:
    """Damage that `--verify` names; a search goes on as it does from the file."""
    with closing(create(tmp_path / "s.db")) as store:
        store.put([entry("d1", "heart"), entry("d2", "salt")])
    with closing(connect(tmp_path / "s.db")) as other:
        other.execute("INSERT INTO words (rowid, title, text) VALUES (99, '', 'heart')")
    with closing(SqliteStore(tmp_path / "s.db", HashedWords())) as store:
        for _ in range(3):
            assert [c.document_id for c in store.retrieve("heart", 5, mode="bm25")] == ["d1"]


def test_vectors_in_memory_follow_every_writer(tmp_path: Path) -> None:
    writer, reader = create(tmp_path / "s.db"), SqliteStore(tmp_path / "s.db", HashedWords())
    with closing(writer), closing(reader):
        for i in range(4):
            writer.put([entry(f"d{i}", f"heart {i}")])
            for store in (reader, writer) * 3:
                assert set(found(store, "heart")) == {f"d{n}" for n in range(i + 1)}
        writer.delete(["d1"])
        for store in (reader, writer):
            assert set(found(store, "heart")) == {"d0", "d2", "d3"}


def test_fields_are_read_once_until_someone_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = sqlite._fields

    def counted(connection: apsw.Connection) -> Mapping[str, frozenset[Kind]]:
        reads.append(connection)
        return read(connection)

    monkeypatch.setattr(sqlite, "_fields", counted)
    with closing(create(tmp_path / "a.db")) as writer:
        writer.put([entry("a", "x", year=2020)])
        with closing(SqliteStore(tmp_path / "a.db", HashedWords())) as store:
            for _ in range(3):
                assert store.fields() == {"year": {"number"}}
            assert len(reads) == 1
            writer.put([entry("b", "x", year="2020", lang="en")])
            for _ in range(3):
                assert store.fields() == {"year": {"number", "text"}, "lang": {"text"}}
            writer.delete(["b"])
            assert store.fields() == {"year": {"number"}}
            assert len(reads) == 3
