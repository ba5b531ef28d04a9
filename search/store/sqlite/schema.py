"""The tables of the embedded store, and the check that a file is one of ours."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import apsw

from search.errors import ModelMismatch, StoreError
from search.store.sqlite.connection import missing, transaction
from search.store.sqlite.expressions import tokenizer
from search.types import EmbeddingInfo

APPLICATION_ID = 0x32534541  # "2SEA": marks the file as ours
VERSION = 3
# Format 1 kept no sources and no locations, format 2 not where a passage begins in its document.
# Both are read as they are, and upgraded by the first writer.
OLD_VERSIONS = (1, 2)
OLD_LANGUAGE = "en"

TABLES = """
CREATE TABLE properties (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    metadata TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    source_file TEXT,
    source_line INTEGER
);
CREATE TABLE passages (
    key INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    position INTEGER NOT NULL,
    text TEXT NOT NULL,
    text_hash BLOB NOT NULL,
    line INTEGER,
    page INTEGER,
    heading TEXT,
    start INTEGER,
    UNIQUE (document, position)
);
CREATE INDEX passages_by_text ON passages (text_hash);
CREATE TABLE vectors (
    passage INTEGER PRIMARY KEY REFERENCES passages ON DELETE CASCADE,
    embedding BLOB NOT NULL
);
CREATE TRIGGER passage_gone AFTER DELETE ON passages BEGIN
    DELETE FROM words WHERE rowid = old.key;
END;
"""

# The word index keeps no text of its own (content=''): it holds a prepared form (`index_text`), and
# the passage itself is in `passages`.
WORDS = """
CREATE VIRTUAL TABLE words USING fts5(
    title, text, content='', contentless_delete=1, tokenize="{tokenizer}"
);
"""
_UPGRADE_1 = """
ALTER TABLE documents ADD COLUMN source_file TEXT;
ALTER TABLE documents ADD COLUMN source_line INTEGER;
ALTER TABLE passages ADD COLUMN line INTEGER;
ALTER TABLE passages ADD COLUMN page INTEGER;
ALTER TABLE passages ADD COLUMN heading TEXT;
"""
_UPGRADE_2 = "ALTER TABLE passages ADD COLUMN start INTEGER"
# Format 1 had a table of what had been ingested, with the files as the user had named them.
_TAKE_SOURCES = """
UPDATE documents SET source_file = ?1,
source_line = (SELECT line FROM ingested WHERE ingested.id = documents.id)
WHERE id IN (SELECT id FROM ingested WHERE file = ?2)
"""
# Views of this connection alone, which go before the tables of the same names.
_AS_NEW = {
    1: """
CREATE TEMP VIEW documents AS SELECT key, id, title, metadata, content_hash,
NULL AS source_file, NULL AS source_line FROM main.documents;
CREATE TEMP VIEW passages AS SELECT key, document, position, text, text_hash,
NULL AS line, NULL AS page, NULL AS heading, NULL AS start FROM main.passages;
""",
    2: """
CREATE TEMP VIEW passages AS SELECT key, document, position, text, text_hash,
line, page, heading, NULL AS start FROM main.passages;
""",
}


def prepare(
    connection: apsw.Connection, path: Path, embedding: EmbeddingInfo, language: str
) -> None:
    """Make the tables in an empty file; leave a store as it is, and refuse any other file."""
    if _application_id(connection) == 0:
        with transaction(connection):
            # Another process may have made them while this one waited for the lock.
            if _is_empty(connection):
                _create(connection, embedding, language)
    verify(connection, path, embedding, language)
    if format_version(connection) != VERSION:
        with transaction(connection):
            if format_version(connection) != VERSION:
                _upgrade(connection, path)


def verify(
    connection: apsw.Connection, path: Path, embedding: EmbeddingInfo, language: str
) -> None:
    """Raise unless this version reads the store, and `embedding` has filled it in `language`."""
    if _is_empty(connection):
        raise missing(path)
    if _application_id(connection) != APPLICATION_ID:
        raise StoreError(
            f"{path} is an SQLite file, but not a store of this project; set `store` elsewhere"
        )
    version = format_version(connection)
    if version not in (*OLD_VERSIONS, VERSION):
        raise StoreError(
            f"{path} has format {version}, this program reads formats {OLD_VERSIONS[0]} to "
            f"{VERSION}; use the program's version that made it, or delete the file and ingest "
            "again"
        )
    stored = read_embedding(connection, path)
    if not embedding.can_read(stored):
        raise ModelMismatch(_mismatch(path, stored, embedding))
    made_for = connection.execute("SELECT value FROM properties WHERE name = 'language'").get
    if (made_for or OLD_LANGUAGE) != language:
        raise StoreError(
            f"{path} was made for the language {made_for or OLD_LANGUAGE!r}, this run has "
            f"{language!r}: BM25 would cut words otherwise. Set `language` back, or ingest into "
            "another `store`"
        )


def open_for_reading(connection: apsw.Connection) -> None:
    """Let every query find the columns of this version, in a store of an older one, too."""
    older = _AS_NEW.get(format_version(connection))
    if older is not None:
        connection.execute(older)


def read_embedding(connection: apsw.Connection, path: Path) -> EmbeddingInfo:
    """The embedding model that filled this store."""
    query = "SELECT value FROM properties WHERE name = 'embedding'"
    value = connection.execute(query).get
    try:
        return EmbeddingInfo(**json.loads(value))
    except (ValueError, TypeError):
        raise StoreError(
            f"{path} is damaged: its note of the embedding model reads {value!r:.60}; "
            "restore a copy of it, or delete it and ingest again"
        ) from None


def make_words(connection: apsw.Connection, language: str) -> None:
    """An empty word index."""
    connection.execute(WORDS.format(tokenizer=tokenizer(language)))


def _create(connection: apsw.Connection, embedding: EmbeddingInfo, language: str) -> None:
    connection.execute(TABLES)
    make_words(connection, language)
    connection.execute(
        "INSERT INTO properties VALUES ('embedding', ?), ('language', ?)",
        (json.dumps(asdict(embedding)), language),
    )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _upgrade(connection: apsw.Connection, store: Path) -> None:
    if format_version(connection) == 1:
        connection.execute(_UPGRADE_1)
        _take_sources(connection, store)
    connection.execute(_UPGRADE_2)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _take_sources(connection: apsw.Connection, store: Path) -> None:
    if connection.table_exists("main", "ingested"):
        named: list[Any] = connection.execute(
            "SELECT DISTINCT file FROM ingested WHERE file IS NOT NULL"
        ).fetchall()
        for (file,) in named:
            connection.execute(_TAKE_SOURCES, (_source_file(file, store), file))
        connection.execute("DROP TABLE ingested")


def _source_file(named: str, store: Path) -> str | None:
    """The whole path of a file that a run of format 1 noted, or None where it is not certain.

    A relative path began in the folder that the user stood in. That is taken to be the present one
    if the store lies in it, too: elsewhere a file of the same name may be another file.
    """
    if named == "standard input":
        return "-"
    path = Path(named)
    is_here = store.resolve().is_relative_to(Path.cwd()) and path.exists()
    if not path.is_absolute() and not is_here:
        return None
    return str(path.parent.resolve() / path.name)


def format_version(connection: apsw.Connection) -> int:
    """1 to 3, of a store that was verified."""
    return int(connection.execute("PRAGMA user_version").get)


def _application_id(connection: apsw.Connection) -> int:
    return int(connection.execute("PRAGMA application_id").get)


def _is_empty(connection: apsw.Connection) -> bool:
    return not connection.execute("SELECT count(*) FROM sqlite_schema").get


def _mismatch(path: Path, stored: EmbeddingInfo, given: EmbeddingInfo) -> str:
    found, expected = asdict(given), asdict(stored)
    differing = [name for name in expected if expected[name] != found[name]]
    filled = ", ".join(f"{name} {expected[name]!r}" for name in differing)
    present = ", ".join(f"{name} {found[name]!r}" for name in differing)
    return (
        f"{path} was filled by the embedding model {stored.name!r} with {filled}; "
        f"this run has {present}. Vectors of the two cannot be compared: set embedding_model "
        f"(and its prefixes) back, ingest into another `store`, or delete {path} and ingest again"
    )
