"""A store of one file that was damaged: found, mended, or an error that says so."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from store_support import HashedWords, create, random_entries

from search.errors import SearchError, StoreError
from search.store.sqlite import SqliteStore
from search.store.sqlite.connection import connect
from search.types import Condition, Stored

FORGET_INDEX = "DELETE FROM sqlite_schema WHERE name = 'passages_by_text'"
NO_KEYS = "PRAGMA foreign_keys = OFF; "
HALF_FLIPPED = "UPDATE passages SET text = CAST(x'c328' AS TEXT) WHERE key = 1"


@pytest.mark.parametrize(
    ("damage", "reason", "count", "left"),
    [
        ("DELETE FROM vectors WHERE passage = 1", "passages without a vector", 1, 0),
        ("DELETE FROM words WHERE rowid = 1", "passages missing from the word index", 1, 0),
        ("UPDATE vectors SET embedding = x'00' WHERE passage = 1", "vectors of the wrong", 1, 0),
        ("UPDATE vectors SET embedding = zeroblob(256)", "vectors of the wrong size or l", 4, 0),
        (
            "UPDATE vectors SET embedding = (SELECT embedding FROM vectors)",
            "passages whose v",
            3,
            0,
        ),
        ("DELETE FROM passages WHERE document = 1", "documents without passages", 1, 1),
        ("DELETE FROM passages WHERE key = 1", "documents with a gap in their passages", 1, 1),
        (NO_KEYS + "DELETE FROM documents", "passages without a document", 4, 0),
        (NO_KEYS + "DELETE FROM passages", "vectors without a passage", 4, 2),
        ("INSERT INTO words (rowid, text) VALUES (9, 'x')", "word index entries without a", 1, 0),
        ("UPDATE passages SET text = 'other' WHERE key = 1", "passages whose text is not", 1, 1),
        (HALF_FLIPPED, "passages whose text is not", 1, 1),
        ("UPDATE documents SET title = 'other' WHERE key = 1", "passages whose text is not", 2, 1),
        ("UPDATE documents SET metadata = '{oops' WHERE key = 1", "documents whose metadata", 1, 1),
        ("UPDATE documents SET metadata = '[1]' WHERE key = 2", "documents whose metadata", 1, 1),
    ],
)
def test_damage_is_found_and_mended(
    tmp_path: Path, damage: str, reason: str, count: int, left: int
) -> None:
    """What the store cannot mend by itself, storing the same documents again does."""
    store = create(tmp_path / "s.db")
    entries = random_entries(2)
    store.put(entries)
    other = connect(tmp_path / "s.db")
    other.execute(damage)
    other.close()
    assert [f.count for f in store.check(None) if f.reason.startswith(reason)] == [count]
    remaining = store.repair()
    assert [(f.reason[:9], f.count) for f in remaining if "stored again" in f.reason] == (
        [("documents", left)] if left else []
    )
    assert not any(f.reason.startswith("SQLite") for f in remaining)
    held = store.stored([e.document.id for e in entries])
    store.put([e for e in entries if held.get(e.document.id) != Stored(e.content_hash)])
    assert store.check(None) == []
    assert len(store.retrieve("heart", 9, mode="near_text")) == 4
    store.close()


def leave_index_behind(store: Path) -> None:
    """An index that does not know of a change to its table."""
    with closing(connect(store)) as writer:
        (kept,) = writer.execute("SELECT text_hash FROM passages WHERE key = 2").fetchall()
        writer.execute("UPDATE passages SET text_hash = x'00' WHERE key = 2")
        writer.execute("PRAGMA writable_schema = ON")
        columns = "type, name, tbl_name, rootpage, sql"
        by_text = f"SELECT {columns} FROM sqlite_schema WHERE name = 'passages_by_text'"
        index = writer.execute(by_text).fetchone()
        writer.execute(f"{FORGET_INDEX}; PRAGMA writable_schema = RESET")
        writer.execute("UPDATE passages SET text_hash = ? WHERE key = 2", kept)
        writer.execute("PRAGMA writable_schema = ON")
        writer.execute(f"INSERT INTO sqlite_schema ({columns}) VALUES (?, ?, ?, ?, ?)", index)


def test_an_index_of_sqlite_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    create(path).close()
    entries = random_entries(4)
    with closing(create(path)) as store:
        store.put(entries)
    leave_index_behind(path)
    with closing(create(path)) as store:
        assert "SQLite: row 2 missing from index passages_by_text" in reasons(store)
        assert store.repair() == []
        store.put(entries)
        assert store.check(None) == []


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM words_data WHERE id > 10",
        "DELETE FROM words_data",
        "UPDATE words_data SET block = zeroblob(50) WHERE id > 10",
        "DROP TABLE words_docsize",
        "DELETE FROM words_data; " + NO_KEYS + "DELETE FROM documents WHERE key = 3",
    ],
)
def test_a_damaged_word_index_is_made_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "s.db"
    entries = random_entries(40)
    with closing(create(path)) as store:
        for item in entries:
            store.put([item])
        found = [hit.document_id for hit in store.retrieve("salt n7p0", 3, mode="bm25")]
    with closing(connect(path)) as writer:
        writer.execute(damage)
    with closing(create(path)) as store:
        assert reasons(store)
        assert store.repair() == []
        store.put(entries)
        assert store.check(None) == []
        assert found[0] == "d7"
        assert found == [hit.document_id for hit in store.retrieve("salt n7p0", 3, mode="bm25")]


def reasons(store: SqliteStore) -> list[str]:
    return [fault.reason for fault in store.check()]


def test_an_altered_text_never_lends_its_vector_to_the_one_that_was_stored(tmp_path: Path) -> None:
    """Also not where so many vectors are wrong that all texts are embedded again."""
    path = tmp_path / "s.db"
    entries = random_entries(6)
    with closing(create(path)) as store:
        store.put(entries)
    with closing(connect(path)) as writer:
        writer.execute(
            "UPDATE passages SET text = 'altered' WHERE key IN (4, 8);"
            "DELETE FROM vectors WHERE passage = 8;"
            "UPDATE vectors SET embedding = (SELECT embedding FROM vectors WHERE passage = 7)"
            "WHERE passage = 6"
        )
    with closing(create(path)) as store:
        store.repair()
        held = store.stored([e.document.id for e in entries])
        store.put([e for e in entries if held[e.document.id] != Stored(e.content_hash)])
        assert store.check(None) == []


QUESTIONS: list[Callable[[SqliteStore], object]] = [
    lambda store: store.retrieve("heart disease", 20),
    lambda store: store.retrieve("heart", 20, [Condition("year", "=", 2001)]),
    lambda store: list(store.documents()),
    lambda store: store.get("d3"),
    lambda store: store.stored(["d3"]),
    lambda store: store.check(),
    SqliteStore.fields,
    SqliteStore.describe,
]


def test_flipped_bytes_are_an_answer_or_an_error_that_says_so(tmp_path: Path) -> None:
    path, damaged = tmp_path / "s.db", tmp_path / "damaged.db"
    store = create(path)
    store.put(random_entries(30))
    store.close()
    content = path.read_bytes()
    chance = random.Random(0)
    for _ in range(150):
        flipped = bytearray(content)
        for _ in range(20):
            flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        damaged.write_bytes(flipped)
        with suppress(SearchError), closing(SqliteStore(damaged, HashedWords())) as reader:
            for question in QUESTIONS:
                with suppress(SearchError):
                    question(reader)


@pytest.mark.parametrize("value", ["", "{", "[]", "1", '{"name": "x"}'])
def test_an_unreadable_note_of_the_model_is_explained(tmp_path: Path, value: str) -> None:
    path = tmp_path / "s.db"
    create(path).close()
    other = connect(path)
    other.execute("UPDATE properties SET value = ? WHERE name = 'embedding'", (value,))
    other.close()
    with pytest.raises(StoreError, match="is damaged: its note of the embedding model"):
        SqliteStore(path, HashedWords())
    other = connect(path)
    other.execute("DELETE FROM properties")
    other.close()
    with pytest.raises(StoreError, match="is damaged: its note of the embedding model"):
        create(path)
