"""Stores that earlier versions made: searched as they are, upgraded by a writer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from store_support import HashedWords, create, entry

from search.store.sqlite import SqliteStore
from search.store.sqlite.connection import connect
from search.types import Condition, Passage, Source, Stored


def old_store(path: Path) -> None:
    """As format 1 left it: no sources, no locations, and a table of what had been ingested."""
    store = create(path)
    store.put([entry(i, f"heart of {i}", version=i, year=2000) for i in ("a", "b", "c", "d")])
    store.close()
    connection = connect(path)
    connection.execute(
        "ALTER TABLE documents DROP COLUMN source_file;"
        "ALTER TABLE documents DROP COLUMN source_line;"
        "ALTER TABLE passages DROP COLUMN line; ALTER TABLE passages DROP COLUMN page;"
        "ALTER TABLE passages DROP COLUMN heading; ALTER TABLE passages DROP COLUMN start;"
        "PRAGMA user_version = 1;"
        "CREATE TABLE ingested (id TEXT PRIMARY KEY, content_hash TEXT NOT NULL, "
        "passages INTEGER, file TEXT, line INTEGER, time TEXT NOT NULL) WITHOUT ROWID;"
        "INSERT INTO ingested VALUES ('a', 'a', 1, 'in.jsonl', 7, ''),"
        "('b', 'b', 1, 'gone.jsonl', 1, ''), ('c', 'c', 1, 'standard input', 2, '')"
    )
    connection.close()


def test_a_store_of_format_1_is_searched_as_it_is(tmp_path: Path) -> None:
    old_store(tmp_path / "s.db")
    reader = SqliteStore(tmp_path / "s.db", HashedWords())
    best = reader.retrieve("heart of b", 1, [Condition("year", "=", 2000)])[0]
    assert (best.document_id, best.source, best.location) == ("b", None, None)
    assert reader.stored(["a"]) == {"a": Stored("a")}
    assert [one.id for one in reader.documents()] == ["a", "b", "c", "d"]
    assert reader.check(None) == []
    assert reader.describe().version.endswith("format 1")
    reader.close()


def test_a_store_of_format_1_takes_no_file_elsewhere_for_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the user stood in then is unknown: a file of the same name may be another one."""
    old_store(tmp_path / "s.db")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "in.jsonl").touch()
    monkeypatch.chdir(elsewhere)
    store = create(tmp_path / "s.db")
    assert store.stored(["a"]) == {"a": Stored("a")}
    store.close()


def test_a_store_of_format_1_is_upgraded_by_a_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").touch()
    old_store(tmp_path / "s.db")
    reader = SqliteStore(tmp_path / "s.db", HashedWords())
    for _ in range(2):
        store = create(tmp_path / "s.db")
        assert store.stored(["a", "b", "c", "d"]) == {
            "a": Stored("a", Source(str(tmp_path / "in.jsonl"), 7)),
            "b": Stored("b"),  # nobody knows any more where gone.jsonl was
            "c": Stored("c", Source("-", 2)),
            "d": Stored("d"),
        }
        assert store.check(None) == []
        store.close()
    assert len(reader.retrieve("heart", 9)) == 4
    reader.close()


def test_a_store_of_format_2_is_read_and_learns_where_passages_begin(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    store = create(path)
    store.put([entry("a", "heart of a", version=1)])
    store.close()
    connection = connect(path)
    connection.execute("ALTER TABLE passages DROP COLUMN start; PRAGMA user_version = 2;")
    connection.close()
    reader = SqliteStore(path, HashedWords())
    assert reader.describe().version.endswith("format 2")
    assert [one.document_id for one in reader.retrieve("heart", 1)] == ["a"]
    writer = create(path)
    found = reader.get("a")
    assert found is not None
    assert found.passages[0].start is None
    placed = replace(entry("a", "heart of a", version=2), passages=(Passage("heart", None, 7),))
    assert writer.put([placed]) == []
    again = writer.get("a")
    assert again is not None
    assert again.passages == placed.passages
    assert writer.check(None) == []
    assert reader.get("a") == again
    reader.close()
    writer.close()
