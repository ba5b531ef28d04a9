"""How documents enter and leave the embedded store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple

import apsw
import numpy as np
from numpy.typing import NDArray

from search.errors import ModelError
from search.store import Embedder
from search.store.sqlite.expressions import index_text
from search.types import Entry, Failure, Location, Passage, passage_input

LENGTH_TOLERANCE = 0.01
_PUT = """
INSERT INTO documents (id, title, metadata, content_hash, source_file, source_line)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET title = excluded.title,
metadata = excluded.metadata, content_hash = excluded.content_hash,
source_file = excluded.source_file, source_line = excluded.source_line RETURNING key
"""

Vectors = Mapping[bytes, bytes]
"""Hash of an embedded text → its vector, as stored (little-endian float32)."""


def accept(entries: Sequence[Entry]) -> tuple[list[Entry], list[Failure]]:
    """The entries that can be stored, and why the others cannot."""
    accepted, failures = [], []
    for entry in entries:
        reason = _fault(entry)
        if reason is None:
            accepted.append(entry)
        else:
            failures.append(Failure(entry.document.id, reason))
    return accepted, failures


def passage_hashes(entries: Sequence[Entry]) -> dict[bytes, str]:
    """Each different text to embed, by its hash."""
    texts = (
        passage_input(entry.document.title, passage.text)
        for entry in entries
        for passage in entry.passages
    )
    return {text_hash_of(text.encode()): text for text in texts}


def text_hash_of(text: bytes) -> bytes:
    """What an embedded text is known by."""
    return hashlib.blake2b(text, digest_size=16).digest()


def known_vectors(
    connection: apsw.Connection, hashes: Mapping[bytes, str], dimensions: int
) -> dict[bytes, bytes]:
    """The vectors of those texts that the store has embedded before."""
    query = (
        "SELECT embedding FROM passages JOIN vectors ON passage = key WHERE text_hash = ? LIMIT 1"
    )
    found = ((text_hash, connection.execute(query, (text_hash,)).get) for text_hash in hashes)
    return {
        text_hash: vector
        for text_hash, vector in found
        if vector is not None and is_unit_vector(vector, dimensions)
    }


def embed(embedder: Embedder, hashes: Mapping[bytes, str], known: Vectors) -> dict[bytes, bytes]:
    """The vectors of all texts not yet known. Raises ModelError unless each has length 1."""
    texts = {text_hash: text for text_hash, text in hashes.items() if text_hash not in known}
    if not texts:
        return {}
    vectors = np.asarray(embedder.encode_passages(list(texts.values())), dtype="<f4")
    expected = (len(texts), embedder.info.dimensions)
    # Against 1, NaN and infinity fail too; a zero vector would have no cosine with anything.
    if vectors.shape != expected or not np.allclose(_lengths(vectors), 1, atol=LENGTH_TOLERANCE):
        raise ModelError(
            f"the embedding model {embedder.info.name!r} gave vectors of shape {vectors.shape}, "
            f"expected {expected}, each of length 1; nothing of this batch was stored"
        )
    return {text_hash: row.tobytes() for text_hash, row in zip(texts, vectors, strict=True)}


def is_unit_vector(stored: bytes, dimensions: int) -> bool:
    """Whether these bytes are a vector as `embed` makes them."""
    if not isinstance(stored, bytes) or len(stored) != 4 * dimensions:
        return False
    length = _lengths(np.frombuffer(stored, dtype="<f4")[None])[0]
    return bool(abs(length - 1) <= LENGTH_TOLERANCE)


def replace(connection: apsw.Connection, entry: Entry, vectors: Vectors) -> None:
    """Put one document in place of its earlier version, of which nothing stays."""
    document = entry.document
    source = document.source
    origin = (None, None) if source is None else (source.file, source.line)
    key = connection.execute(
        _PUT, (document.id, document.title, _as_json(entry), entry.content_hash, *origin)
    ).get
    connection.execute("DELETE FROM passages WHERE document = ?", (key,))
    for position, passage in enumerate(entry.passages):
        _insert_passage(connection, key, position, document.title, passage, vectors)


def remove(connection: apsw.Connection, document_id: str) -> int:
    """Delete one document with all that belongs to it; 1 if it was there, else 0."""
    if not is_encodable(document_id):
        return 0
    connection.execute("DELETE FROM documents WHERE id = ?", (document_id,))
    return connection.changes()


def is_encodable(text: str) -> bool:
    """Whether SQLite can hold this text: half of a surrogate pair has no UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _insert_passage(
    connection: apsw.Connection,
    document: int,
    position: int,
    title: str,
    passage: Passage,
    vectors: Vectors,
) -> None:
    text_hash = text_hash_of(passage_input(title, passage.text).encode())
    where = passage.location or Location()
    key = connection.execute(
        "INSERT INTO passages (document, position, text, text_hash, line, page, heading, start) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING key",
        (document, position, passage.text, text_hash, *astuple(where), passage.start),
    ).get
    connection.execute("INSERT INTO vectors VALUES (?, ?)", (key, vectors[text_hash]))
    index_words(connection, key, title, passage.text)


def index_words(connection: apsw.Connection, key: int, title: str, text: str) -> None:
    """Add one passage to the word index."""
    connection.execute(
        "INSERT INTO words (rowid, title, text) VALUES (?, ?, ?)",
        (key, index_text(title), index_text(text)),
    )


def _fault(entry: Entry) -> str | None:
    if not entry.passages:
        return "it has no passages"
    if not all(map(is_encodable, _texts(entry))):
        return "it holds half of a surrogate pair, which has no UTF-8 form"
    try:
        _as_json(entry)
    except (TypeError, ValueError) as error:
        return f"its metadata cannot be stored: {error}"
    return None


def _texts(entry: Entry) -> Iterator[str]:
    document = entry.document
    yield from (document.id, document.title, document.source.file if document.source else "")
    for passage in entry.passages:
        yield passage.text
        yield (passage.location and passage.location.heading) or ""


def _lengths(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):  # numbers that a damaged store can hold
        lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1)
    return lengths


def _as_json(entry: Entry) -> str:
    return json.dumps(dict(entry.document.metadata), allow_nan=False)
