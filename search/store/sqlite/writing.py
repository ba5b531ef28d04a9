"""How documents enter and leave the embedded store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import apsw
import numpy as np

from search.errors import ModelError
from search.store import Embedder
from search.store.sqlite.fts import index_text
from search.types import Entry, Failure, Passage, passage_input

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
    return {_hash(text): text for text in texts}


def known_vectors(connection: apsw.Connection, hashes: Mapping[bytes, str]) -> dict[bytes, bytes]:
    """The vectors of those texts that the store has embedded before."""
    query = (
        "SELECT embedding FROM passages JOIN vectors ON passage = key WHERE text_hash = ? LIMIT 1"
    )
    found = ((text_hash, connection.execute(query, (text_hash,)).get) for text_hash in hashes)
    return {text_hash: vector for text_hash, vector in found if vector is not None}


def embed(embedder: Embedder, hashes: Mapping[bytes, str], known: Vectors) -> dict[bytes, bytes]:
    """The vectors of all texts not yet known. Raises ModelError unless each has length 1."""
    texts = {text_hash: text for text_hash, text in hashes.items() if text_hash not in known}
    if not texts:
        return {}
    vectors = np.asarray(embedder.encode_passages(list(texts.values())), dtype="<f4")
    expected = (len(texts), embedder.info.dimensions)
    # Against 1, NaN and infinity fail too; a zero vector would have no cosine with anything.
    if vectors.shape != expected or not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=0.01):
        raise ModelError(
            f"the embedding model {embedder.info.name!r} gave vectors of shape {vectors.shape}, "
            f"expected {expected}, each of length 1; nothing of this batch was stored"
        )
    return {text_hash: row.tobytes() for text_hash, row in zip(texts, vectors, strict=True)}


def replace(connection: apsw.Connection, entry: Entry, vectors: Vectors) -> None:
    """Put one document in place of its earlier version, of which nothing stays."""
    document = entry.document
    key = connection.execute(
        "INSERT INTO documents (id, title, metadata, content_hash) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET title = excluded.title, metadata = excluded.metadata, "
        "content_hash = excluded.content_hash RETURNING key",
        (document.id, document.title, _as_json(entry), entry.content_hash),
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
    text_hash = _hash(passage_input(title, passage.text))
    key = connection.execute(
        "INSERT INTO passages (document, position, text, text_hash) VALUES (?, ?, ?, ?) "
        "RETURNING key",
        (document, position, passage.text, text_hash),
    ).get
    connection.execute("INSERT INTO vectors VALUES (?, ?)", (key, vectors[text_hash]))
    connection.execute(
        "INSERT INTO words (rowid, title, text) VALUES (?, ?, ?)",
        (key, index_text(title), index_text(passage.text)),
    )


def _fault(entry: Entry) -> str | None:
    document = entry.document
    if not entry.passages:
        return "it has no passages"
    if not all(map(is_encodable, (document.id, document.title, *(p.text for p in entry.passages)))):
        return "it holds half of a surrogate pair, which has no UTF-8 form"
    try:
        _as_json(entry)
    except (TypeError, ValueError) as error:
        return f"its metadata cannot be stored: {error}"
    return None


def _as_json(entry: Entry) -> str:
    return json.dumps(dict(entry.document.metadata), allow_nan=False)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
