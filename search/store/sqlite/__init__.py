"""The embedded store: one SQLite file with exact vector search, BM25 and metadata filters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import Any

import apsw

from search.errors import StoreMissing
from search.store import Embedder
from search.store.sqlite import integrity, rankings, schema, writing
from search.store.sqlite.connection import (
    connect,
    load_vector_functions,
    transaction,
    translate_errors,
)
from search.store.sqlite.fusion import relative_score_fusion
from search.types import Candidate, Condition, Entry, Failure, RetrievalMode, Stored, StoreInfo

# Each leg of a hybrid search looks at least this far, so that small k fuse as well as large ones.
FUSION_DEPTH = 100
_PAGE = 1000


class SqliteStore:
    """Store in one file. Any number of processes may read while one writes.

    Threads may share an instance: they take turns at its one connection. Embedding happens
    outside of that turn, and outside of the write lock.
    """

    def __init__(
        self,
        path: Path,
        embedder: Embedder,
        *,
        alpha: float = 0.5,
        create: bool = False,
        read_only: bool = False,
    ) -> None:
        """Open `path`, or make it with `create`; `alpha` weighs the vector leg of hybrid.

        Raises StoreMissing, ModelMismatch, StoreUnavailable, or StoreError for a file not ours.
        """
        self._path = path
        self._embedder = embedder
        self._alpha = alpha
        self._lock = RLock()
        if not create and not path.is_file():
            raise StoreMissing(schema.missing(path))
        self._connection = connect(path, create=create, read_only=read_only)
        try:
            with translate_errors(path):
                check_or_make = schema.prepare if create else schema.verify
                check_or_make(self._connection, path, embedder.info)
                load_vector_functions(self._connection)
        except BaseException:
            self._connection.close()
            raise

    def put(self, entries: Sequence[Entry]) -> list[Failure]:
        """Embed what is new, then replace all documents in one transaction, on disk on return."""
        entries, failures = writing.accept(entries)
        hashes = writing.passage_hashes(entries)
        with self._turn() as connection:
            vectors = writing.known_vectors(connection, hashes)
        vectors |= writing.embed(self._embedder, hashes, known=vectors)
        with self._turn() as connection, transaction(connection):
            for entry in entries:
                writing.replace(connection, entry, vectors)
        return failures

    def delete(self, document_ids: Iterable[str]) -> int:
        """Remove these documents, their passages, vectors and index entries in one transaction."""
        with self._turn() as connection, transaction(connection):
            return sum(writing.remove(connection, document_id) for document_id in document_ids)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Stored]:
        """What is held of each of these documents that is stored."""
        found: dict[str, Stored] = {}
        query = "SELECT content_hash FROM documents WHERE id = ?"
        with self._turn() as connection:
            for document_id in filter(writing.is_encodable, document_ids):
                content_hash = connection.execute(query, (document_id,)).get
                if content_hash is not None:
                    found[document_id] = Stored(content_hash)
        return found

    def ids(self) -> Iterator[str]:
        """Every document's id in the order first stored; pages of them, so writers may go on."""
        query = "SELECT key, id FROM documents WHERE key > ? ORDER BY key LIMIT ?"
        last: int | None = 0
        while last is not None:
            with self._turn() as connection:
                page: list[Any] = connection.execute(query, (last, _PAGE)).fetchall()
            yield from (document_id for _, document_id in page)
            last = page[-1][0] if page else None

    def retrieve(
        self,
        query: str,
        k: int,
        filters: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
        alpha: float | None = None,
    ) -> list[Candidate]:
        """The k best passages. Scores: cosine (near_text), BM25, or 0–1 relative (hybrid)."""
        depth = max(FUSION_DEPTH, k) if mode == "hybrid" else k
        vector = None if mode == "bm25" else self._embedder.encode_query(query)
        # One read transaction: a writer cannot change the store between the rankings.
        with self._turn() as connection, transaction(connection, "DEFERRED"):
            by_vector = (
                rankings.nearest(connection, vector, depth, filters) if vector is not None else {}
            )
            by_words = (
                rankings.bm25(connection, query, depth, filters) if mode != "near_text" else {}
            )
            if mode == "hybrid":
                scores = relative_score_fusion(
                    by_vector, by_words, self._alpha if alpha is None else alpha
                )
            else:
                scores = by_vector or by_words
            scores = dict(islice(scores.items(), k))
            # A passage that only one ranking found: what the other would have given it.
            if mode == "hybrid" and vector is not None:
                unseen = [key for key in scores if key not in by_vector]
                by_vector |= rankings.cosines(connection, vector, unseen)
                unseen = [key for key in scores if key not in by_words]
                by_words |= rankings.bm25_scores(connection, query, unseen)
            return rankings.candidates(connection, scores, by_vector, by_words)

    def check(self) -> list[str]:
        """Faults of the file and of what belongs together in it; empty when it is sound."""
        with self._turn() as connection, transaction(connection, "DEFERRED"):
            return integrity.faults(connection, self._embedder.info.dimensions)

    def describe(self) -> StoreInfo:
        """Kind, file, counts, and the embedding model that filled it."""
        with self._turn() as connection, transaction(connection, "DEFERRED"):
            return StoreInfo(
                kind="sqlite",
                location=str(self._path),
                documents=connection.execute("SELECT count(*) FROM documents").get,
                passages=connection.execute("SELECT count(*) FROM passages").get,
                embedding=schema.read_embedding(connection),
                version=f"SQLite {apsw.sqlite_lib_version()}, format {schema.VERSION}",
            )

    def close(self) -> None:
        """Release the file; whatever was put is on disk already."""
        with self._turn() as connection:
            connection.close()

    @contextmanager
    def _turn(self) -> Iterator[apsw.Connection]:
        with self._lock, translate_errors(self._path):
            yield self._connection
