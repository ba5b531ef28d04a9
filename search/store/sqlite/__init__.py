"""The embedded store: one SQLite file with exact vector search, BM25 and metadata filters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import apsw

from search.errors import StoreUnavailable
from search.store import DEFAULT_SAMPLE, Embedder, metadata_from_json, unknown_document
from search.store.fusion import relative_score_fusion
from search.store.sqlite import integrity, rankings, schema, writing
from search.store.sqlite.connection import (
    Readers,
    check_path,
    connect,
    load_vector_functions,
    transaction,
    translate_errors,
)
from search.store.sqlite.expressions import match_terms
from search.store.sqlite.memory import MARK_WRITTEN, Memory
from search.store.sqlite.rankings import Query
from search.types import (
    Candidate,
    Condition,
    Entry,
    Failure,
    Fault,
    Kind,
    Listed,
    Passage,
    RetrievalMode,
    Source,
    Stored,
    StoredDocument,
    StoreInfo,
)

# Each ranking of a hybrid search looks at least this far, so that small k fuse as large ones do.
FUSION_DEPTH = 100
_PAGE = 1000
_JSON_KINDS: dict[str, Kind] = {
    "text": "text",
    "integer": "number",
    "real": "number",
    "true": "boolean",
    "false": "boolean",
}
_LIST = """
SELECT documents.key, id, title, source_file, source_line, count(passages.key)
FROM (SELECT * FROM documents WHERE key > ? ORDER BY key LIMIT ?) AS documents
LEFT JOIN passages ON document = documents.key GROUP BY documents.key ORDER BY documents.key
"""
_GET = """
SELECT key, title, metadata, content_hash, source_file, source_line FROM documents WHERE id = ?
"""
_PASSAGES = """
SELECT text, start, line, page, heading FROM {table} WHERE document = ? ORDER BY position
"""
_FIELDS = """
SELECT DISTINCT field.key, field.type FROM documents, json_each(metadata) AS field
WHERE field.type != 'array'
UNION SELECT DISTINCT field.key, member.type
FROM documents, json_each(metadata) AS field, json_each(field.value) AS member
WHERE field.type = 'array'
"""

T = TypeVar("T")


class SqliteStore:
    """Store in one file. Any number of processes may read while one writes.

    Threads may share an instance: each reads on a connection of its own, and writers take turns.
    Embedding happens outside of that turn, and outside of the write lock.
    """

    def __init__(
        self,
        path: Path,
        embedder: Embedder,
        *,
        alpha: float = 0.5,
        language: str = "en",
        create: bool = False,
    ) -> None:
        """Open `path` to read it; with `create` to write, too, and made if it is not there.

        `alpha` weighs the vector ranking of hybrid; `language` decides what words BM25 takes for
        the same. Raises StoreMissing, ModelMismatch, StoreUnavailable, or StoreError for a file
        that is not ours or of another language.
        """
        self._path = path = path.expanduser()
        self._embedder = embedder
        self._alpha = alpha
        self._language = language
        self._lock = RLock()
        check_path(path)
        self._memory = Memory()
        self._readers = Readers(path, self._prepare_reader, self._memory.forget)
        self._writer = connect(path, create=True) if create else None
        try:
            if self._writer is not None:
                with translate_errors(path):
                    schema.prepare(self._writer, path, embedder.info, language)
            self._readers.read(lambda connection: None)
        except BaseException:
            self.close()
            raise

    def put(self, entries: Sequence[Entry]) -> list[Failure]:
        """Embed what is new, then replace all documents in one transaction, on disk on return."""
        entries, failures = writing.accept(entries)
        hashes = writing.passage_hashes(entries)
        dimensions = self._embedder.info.dimensions
        vectors = self._readers.read(
            lambda connection: writing.known_vectors(connection, hashes, dimensions)
        )
        vectors |= writing.embed(self._embedder, hashes, known=vectors)
        with self._writing() as connection:
            for entry in entries:
                writing.replace(connection, entry, vectors)
        return failures

    def move(self, sources: Mapping[str, Source]) -> None:
        """Note that these documents now come from elsewhere; all else of them stays."""
        with self._writing() as connection:
            connection.executemany(
                "UPDATE documents SET source_file = ?, source_line = ? WHERE id = ?",
                ((source.file, source.line, name) for name, source in sources.items()),
            )

    def delete(self, document_ids: Iterable[str]) -> int:
        """Remove these documents, their passages, vectors and index entries in one transaction."""
        with self._writing() as connection:
            return sum(writing.remove(connection, document_id) for document_id in document_ids)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Stored]:
        """What is held of each of these documents that is stored."""
        names = list(filter(writing.is_encodable, document_ids))
        query = """
            SELECT id, content_hash, source_file, source_line FROM documents
            WHERE id IN (SELECT value FROM json_each(?))
        """
        rows = self._rows(query, json.dumps(names))
        return {
            name: Stored(version, rankings.source_of(*source)) for name, version, *source in rows
        }

    def ids(self) -> Iterator[str]:
        """Every document's id in the order first stored; pages of them, so writers may go on."""
        query = "SELECT key, id FROM documents WHERE key > ? ORDER BY key LIMIT ?"
        return (document_id for _, document_id in self._pages(query))

    def documents(self, after: str | None = None) -> Iterator[Listed]:
        """Every document in the order first stored; those behind `after`. Raises InputError."""
        return self._listed(0 if after is None else self._key(after))

    def _key(self, document_id: str) -> int:
        query = "SELECT key FROM documents WHERE id = ?"
        if writing.is_encodable(document_id) and (rows := self._rows(query, document_id)):
            return int(rows[0][0])
        raise unknown_document(document_id)

    def _listed(self, start: int) -> Iterator[Listed]:
        for _, name, title, file, line, passages in self._pages(_LIST, start):
            yield Listed(name, title, rankings.source_of(file, line), passages)

    def get(self, document_id: str) -> StoredDocument | None:
        """One document with its passages in their order; None when it is not there."""
        if not writing.is_encodable(document_id):
            return None

        def work(connection: apsw.Connection) -> StoredDocument | None:
            row: Any = connection.execute(_GET, (document_id,)).fetchone()
            if row is None:
                return None
            key, title, metadata, content_hash, *source = row
            # A reader's view of an older format would hide what a writer has upgraded since.
            current = schema.format_version(connection) == schema.VERSION
            passages = _PASSAGES.format(table="main.passages" if current else "passages")
            return StoredDocument(
                document_id,
                title,
                metadata_from_json(document_id, metadata, self._path),
                rankings.source_of(*source),
                content_hash,
                tuple(
                    Passage(text, rankings.location_of(*location), start)
                    for text, start, *location in connection.execute(passages, (key,))
                ),
            )

        return self._readers.read(work)

    def fields(self) -> Mapping[str, frozenset[Kind]]:
        """The metadata fields of all documents, and which kinds of value each holds."""
        return self._readers.read(lambda connection: self._memory.kept(connection, _fields))

    def retrieve(
        self,
        query: str,
        k: int,
        filters: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
        alpha: float | None = None,
    ) -> list[Candidate]:
        """The k best passages. Scores: cosine (near_text), BM25, or 0–1 relative (hybrid)."""
        vector = None if mode == "bm25" else self._embedder.encode_query(query)
        terms = None if mode == "near_text" else match_terms(query, self._language)
        asked = Query(vector, terms, filters)
        weight = self._alpha if alpha is None else alpha
        return self._readers.read(
            lambda connection: _ranked(connection, self._memory, asked, k, weight, self._path)
        )

    def unreadable(self, query: str) -> str | None:
        """What the embedding model cannot read, if most of `query` is that."""
        return self._embedder.unreadable(query)

    def unread_tokens(self, query: str) -> int:
        """How many tokens at the query's end its vector says nothing of."""
        return self._embedder.unread_tokens(query)

    def check(self, sample: int | None = DEFAULT_SAMPLE) -> list[Fault]:
        """Faults of the file and of what belongs together in it; a sample is embedded again."""
        dimensions = self._embedder.info.dimensions
        found = self._readers.read(lambda connection: integrity.faults(connection, dimensions))
        return found or integrity.strange_vectors(self._sample(sample), self._embedder)

    def repair(self) -> list[Fault]:
        """Embed again what has no vector or a wrong one, and make indexes anew if need be.

        Documents whose text or metadata is lost are marked, so that an ingest stores them again.
        """
        dimensions = self._embedder.info.dimensions
        with self._writing() as connection:
            integrity.rebuild_indexes(connection, self._language)
            integrity.mark_damaged(connection, dimensions)
        every = bool(integrity.strange_vectors(self._sample(DEFAULT_SAMPLE), self._embedder))
        lacking = self._readers.read(
            lambda connection: integrity.without_vectors(connection, dimensions, every=every)
        )
        for vectors in integrity.embed_again(self._embedder, lacking):
            with self._writing() as connection:
                integrity.put_vectors(connection, vectors)
        return self.check()

    def describe(self) -> StoreInfo:
        """Kind, file, counts, and the embedding model that filled it."""

        def work(connection: apsw.Connection) -> StoreInfo:
            return StoreInfo(
                kind="sqlite",
                location=str(self._path),
                documents=connection.execute("SELECT count(*) FROM documents").get,
                passages=connection.execute("SELECT count(*) FROM passages").get,
                embedding=schema.read_embedding(connection, self._path),
                version=f"SQLite {apsw.sqlite_lib_version()}, "
                f"format {schema.format_version(connection)}",
            )

        return self._readers.read(work)

    def close(self) -> None:
        """Release the file; whatever was put is on disk already."""
        self._readers.close()
        with self._lock, translate_errors(self._path):
            if self._writer is not None:
                self._writer.close()

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        """One transaction; other writers wait for it."""
        if self._writer is None:
            raise StoreUnavailable(f"{self._path} was opened read-only: nothing can be written")
        with self._lock, translate_errors(self._path), transaction(self._writer):
            yield self._writer
            self._writer.execute(MARK_WRITTEN)

    def _prepare_reader(self, connection: apsw.Connection) -> None:
        schema.verify(connection, self._path, self._embedder.info, self._language)
        schema.open_for_reading(connection)
        load_vector_functions(connection)

    def _rows(self, query: str, *parameters: str | int) -> list[Any]:
        return self._readers.read(
            lambda connection: connection.execute(query, parameters).fetchall()
        )

    def _pages(self, query: str, last: int = 0) -> Iterator[Any]:
        """Rows that begin with a rising key, for a query that takes the last key and a limit."""
        while page := self._rows(query, last, _PAGE):
            yield from page
            last = page[-1][0]

    def _sample(self, size: int | None) -> list[tuple[str, str, bytes]]:
        return self._readers.read(lambda connection: integrity.sample(connection, size))


def _fields(connection: apsw.Connection) -> Mapping[str, frozenset[Kind]]:
    kinds: dict[str, set[Kind]] = {}
    for name, kind in connection.execute(_FIELDS):
        kinds.setdefault(name, set()).add(_JSON_KINDS[kind])
    return {name: frozenset(found) for name, found in kinds.items()}


def _ranked(
    connection: apsw.Connection, memory: Memory, query: Query, k: int, alpha: float, store: Path
) -> list[Candidate]:
    """By both rankings, fused, or by the one that has something to go by."""
    both = query.vector is not None and query.terms is not None
    depth = max(FUSION_DEPTH, k) if both else k
    read = memory.rankings(connection, query)
    cosine, bm25 = read.nearest(depth), read.bm25(depth)
    scores = relative_score_fusion(cosine, bm25, alpha) if both else cosine or bm25
    best = list(scores.items())[:k]
    cosine |= read.cosines_of([key for key, _ in best if key not in cosine])
    bm25 |= read.bm25_of([key for key, _ in best if key not in bm25])
    return rankings.candidates(connection, best, cosine, bm25, scores if both else {}, store)
