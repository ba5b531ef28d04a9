"""Faults that a store in order never has: found, and mended as far as its content allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import apsw
import numpy as np

from search.store import Embedder
from search.store.sqlite import schema
from search.store.sqlite.writing import embed, index_words, is_unit_vector, text_hash_of
from search.types import Fault, passage_input

IDS_SHOWN = 5
# The same text embedded on another device or in another precision still comes out this near.
SAME_VECTOR = 0.95
_BATCH = 256

# What must give no row, and what repairs it. A row is the id of a document, as far as there is one.
# `words_docsize` is where FTS5 lists its rows.
_ORPHANS = {
    "passages without a document": """
        SELECT NULL FROM passages WHERE document NOT IN (SELECT key FROM documents)""",
    "vectors without a passage": """
        SELECT NULL FROM vectors WHERE passage NOT IN (SELECT key FROM passages)""",
}
_WORDS = {
    "passages missing from the word index": """
        SELECT documents.id FROM passages JOIN documents ON documents.key = document
        WHERE passages.key NOT IN (SELECT id FROM words_docsize)""",
    "word index entries without a passage": """
        SELECT NULL FROM words_docsize WHERE id NOT IN (SELECT key FROM passages)""",
}
_DOCUMENTS = {
    "documents without passages": """
        SELECT id FROM documents WHERE key NOT IN (SELECT document FROM passages)""",
    "documents with a gap in their passages": """
        SELECT documents.id FROM passages JOIN documents ON documents.key = document
        GROUP BY document HAVING min(position) != 0 OR max(position) != count(*) - 1""",
    "documents whose metadata is not a JSON object": """
        SELECT id FROM documents WHERE CASE WHEN json_valid(metadata)
        THEN json_type(metadata) != 'object' ELSE 1 END""",
}
_MARKED = "documents to be stored again: ingest their sources"
_ALTERED = "passages whose text is not the one that was stored"
_NO_VECTOR = "passages without a vector"
_BAD_VECTOR = "vectors of the wrong size or length"
_STRANGE_VECTOR = "passages whose vector the embedding model does not give for their text"
_IS_MARKED = "SELECT id FROM documents WHERE content_hash = ''"
_PASSAGES = """
SELECT passages.key, documents.id, CAST(title AS BLOB), CAST(text AS BLOB), text_hash, embedding
FROM passages JOIN documents ON documents.key = document
LEFT JOIN vectors ON passage = passages.key {where}
"""
_SAMPLE = "WHERE passages.key IN (SELECT key FROM passages ORDER BY random() LIMIT ?)"


@dataclass(slots=True)
class _Found:
    """The faults so far, by reason."""

    counts: dict[str, int] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, document_id: str | None = None) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        shown = self.ids.setdefault(reason, [])
        if document_id is not None and document_id not in shown and len(shown) < IDS_SHOWN:
            shown.append(document_id)

    def faults(self) -> list[Fault]:
        return [Fault(reason, n, tuple(self.ids[reason])) for reason, n in self.counts.items()]


def faults(connection: apsw.Connection, dimensions: int) -> list[Fault]:
    """What the tables themselves tell; every text is compared with its hash."""
    found = _Found()
    try:
        for line in _complaints(connection):
            found.add(f"SQLite: {line}")
        for queries in (_ORPHANS, _WORDS, _DOCUMENTS):
            for reason, query in queries.items():
                for (document_id,) in connection.execute(query):
                    found.add(reason, document_id)
        for reason, _, document_id in _bad_passages(connection, dimensions):
            found.add(reason, document_id)
        for (document_id,) in connection.execute(_IS_MARKED):
            found.add(_MARKED, document_id)
    # A page that cannot be read ends the look through; what was found until then is worth telling.
    except (apsw.CorruptError, apsw.SQLError, UnicodeDecodeError) as error:
        found.add(f"the file cannot be read to its end: {error}")
    return found.faults()


def sample(connection: apsw.Connection, size: int | None) -> list[tuple[str, str, bytes]]:
    """(id, embedded text, vector) of so many passages, chosen at random; None: of all.

    Passages, not documents: one book would be as much to embed as a thousand notes.
    """
    where, limit = ("", ()) if size is None else (_SAMPLE, (size,))
    return [
        (document_id, _input(title, text).decode(), vector)
        for _, document_id, title, text, text_hash, vector in connection.execute(
            _PASSAGES.format(where=where), limit
        )
        if vector is not None and text_hash == text_hash_of(_input(title, text))
    ]


def strange_vectors(sampled: list[tuple[str, str, bytes]], embedder: Embedder) -> list[Fault]:
    """Whether the embedding model still gives these vectors for these texts."""
    found = _Found()
    dimensions = embedder.info.dimensions
    usable = [entry for entry in sampled if is_unit_vector(entry[2], dimensions)]
    for start in range(0, len(usable), _BATCH):
        part = usable[start : start + _BATCH]
        given = embedder.encode_passages([text for _, text, _ in part])
        kept = np.stack([np.frombuffer(vector, dtype="<f4") for *_, vector in part])
        for (document_id, *_), cosine in zip(part, (given * kept).sum(axis=1), strict=True):
            if not cosine >= SAME_VECTOR:
                found.add(_STRANGE_VECTOR, document_id)
    return found.faults()


def mark_damaged(connection: apsw.Connection, dimensions: int) -> None:
    """Remove what belongs to nothing, and mark documents whose content is lost or altered."""
    connection.execute("DELETE FROM passages WHERE document NOT IN (SELECT key FROM documents)")
    connection.execute("DELETE FROM vectors WHERE passage NOT IN (SELECT key FROM passages)")
    damaged = {row[0] for query in _DOCUMENTS.values() for row in connection.execute(query)}
    damaged |= {i for why, _, i in _bad_passages(connection, dimensions) if why == _ALTERED}
    connection.executemany(
        "UPDATE documents SET content_hash = '' WHERE id = ?", ((i,) for i in damaged)
    )
    # Until then a search can show these documents, if without their metadata.
    connection.execute(
        "UPDATE documents SET metadata = '{}' WHERE CASE WHEN json_valid(metadata) "
        "THEN json_type(metadata) != 'object' ELSE 1 END"
    )


def rebuild_indexes(connection: apsw.Connection, language: str) -> None:
    """Make anew what SQLite finds at fault; and the word index also when it lacks a passage, or has
    one too many.
    """
    if list(_complaints(connection)):
        with suppress(apsw.ConstraintError):  # what should be there once is there twice
            connection.execute("REINDEX")
    if _words_are_whole(connection):
        return
    connection.execute("DROP TABLE IF EXISTS words")
    schema.make_words(connection, language)
    for key, _, title, text, _, _ in connection.execute(_PASSAGES.format(where="")):
        index_words(connection, key, title.decode(errors="replace"), text.decode(errors="replace"))


def without_vectors(
    connection: apsw.Connection, dimensions: int, *, every: bool
) -> dict[int, tuple[bytes, str]]:
    """Key → (hash, embedded text) of the passages to be embedded again: `every` one, or those
    whose vector is missing, or no vector at all. Passages whose text was altered are left out.
    """
    wanted = {key for why, key, _ in _bad_passages(connection, dimensions) if why != _ALTERED}
    return {
        key: (text_hash, _input(title, text).decode(errors="replace"))
        for key, _, title, text, text_hash, _ in connection.execute(_PASSAGES.format(where=""))
        # The vector of another text would be taken for this one's, once that is stored again.
        if (every or key in wanted) and text_hash == text_hash_of(_input(title, text))
    }


def embed_again(
    embedder: Embedder, passages: dict[int, tuple[bytes, str]]
) -> Iterator[list[tuple[int, bytes]]]:
    """(key, vector) of these passages, some at a time."""
    items = list(passages.items())
    for start in range(0, len(items), _BATCH):
        part = dict(items[start : start + _BATCH])
        vectors = embed(embedder, dict(part.values()), known={})
        yield [(key, vectors[text_hash]) for key, (text_hash, _) in part.items()]


def put_vectors(connection: apsw.Connection, vectors: Iterable[tuple[int, bytes]]) -> None:
    """Replace the vectors of these passages, as far as the passages are still there."""
    connection.executemany(
        "INSERT OR REPLACE INTO vectors SELECT ?1, ?2 WHERE ?1 IN (SELECT key FROM passages)",
        vectors,
    )


def _complaints(connection: apsw.Connection) -> Iterator[str]:
    """What SQLite and FTS5 say of the file."""
    # FTS5 notices here that another connection has written; the check alone would take its own
    # memory of the index for the truth, and call the index corrupt.
    with suppress(apsw.CorruptError, apsw.SQLError):
        connection.execute("SELECT rowid FROM words LIMIT 1").fetchone()
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield line


def _words_are_whole(connection: apsw.Connection) -> bool:
    try:
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        return not any(connection.execute(query).fetchone() for query in _WORDS.values())
    except (apsw.CorruptError, apsw.SQLError):  # the latter where a table of the index is missing
        return False


def _bad_passages(connection: apsw.Connection, dimensions: int) -> Iterator[tuple[str, int, str]]:
    """(reason, key, document id), the passages of marked documents left out."""
    unmarked = "WHERE content_hash != ''"
    for key, document_id, title, text, text_hash, vector in connection.execute(
        _PASSAGES.format(where=unmarked)
    ):
        if text_hash_of(_input(title, text)) != text_hash:
            yield _ALTERED, key, document_id
        if vector is None:
            yield _NO_VECTOR, key, document_id
        elif not is_unit_vector(vector, dimensions):
            yield _BAD_VECTOR, key, document_id


def _input(title: bytes, text: bytes) -> bytes:
    """`passage_input` of texts that may be damaged: compared as bytes."""
    return passage_input(title.decode("latin-1"), text.decode("latin-1")).encode("latin-1")
