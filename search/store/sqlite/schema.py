"""The tables of the embedded store, and the check that a file is one of ours."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import apsw

from search.errors import ModelMismatch, StoreError, StoreMissing
from search.store.sqlite.connection import transaction
from search.types import EmbeddingInfo

APPLICATION_ID = 0x32534541  # "2SEA": marks the file as ours
VERSION = 1

# The word index keeps no text of its own (content=''): it holds a prepared form (see fts.py),
# and the passage itself is in `passages`. Marks (M*) belong to words, as in Hindi vowel signs.
TABLES = """
CREATE TABLE properties (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    metadata TEXT NOT NULL,
    content_hash TEXT NOT NULL
);
CREATE TABLE passages (
    key INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    position INTEGER NOT NULL,
    text TEXT NOT NULL,
    text_hash BLOB NOT NULL,
    UNIQUE (document, position)
);
CREATE INDEX passages_by_text ON passages (text_hash);
CREATE TABLE vectors (
    passage INTEGER PRIMARY KEY REFERENCES passages ON DELETE CASCADE,
    embedding BLOB NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5(
    title, text, content='', contentless_delete=1,
    tokenize="porter unicode61 remove_diacritics 2 categories 'L* N* M* Co'"
);
CREATE TRIGGER passage_gone AFTER DELETE ON passages BEGIN
    DELETE FROM words WHERE rowid = old.key;
END;
"""


def prepare(connection: apsw.Connection, path: Path, embedding: EmbeddingInfo) -> None:
    """Make the tables in an empty file; leave a store as it is, and refuse any other file."""
    if _application_id(connection) == 0:
        with transaction(connection):
            # Another process may have made them while this one waited for the lock.
            if _is_empty(connection):
                _create(connection, embedding)
    verify(connection, path, embedding)


def verify(connection: apsw.Connection, path: Path, embedding: EmbeddingInfo) -> None:
    """Raise unless this is a store that this version reads and `embedding` has filled."""
    if _is_empty(connection):
        raise StoreMissing(missing(path))
    if _application_id(connection) != APPLICATION_ID:
        raise StoreError(
            f"{path} is an SQLite file, but not a store of this project; set `store` elsewhere"
        )
    version = connection.execute("PRAGMA user_version").get
    if version != VERSION:
        raise StoreError(
            f"{path} has format {version}, this program reads format {VERSION}; "
            "use the program's version that made it, or delete the file and ingest again"
        )
    stored = read_embedding(connection)
    if not embedding.can_read(stored):
        raise ModelMismatch(_mismatch(path, stored, embedding))


def read_embedding(connection: apsw.Connection) -> EmbeddingInfo:
    """The embedding model that filled this store."""
    query = "SELECT value FROM properties WHERE name = 'embedding'"
    return EmbeddingInfo(**json.loads(connection.execute(query).get))


def missing(path: Path) -> str:
    """What to tell someone who searches before there is a store."""
    return f"there is no store at {path} yet: run `python -m ingest PATH` first"


def _create(connection: apsw.Connection, embedding: EmbeddingInfo) -> None:
    connection.execute(TABLES)
    connection.execute(
        "INSERT INTO properties VALUES ('embedding', ?)", (json.dumps(asdict(embedding)),)
    )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


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
