"""Both rankings from memory, in a process that asks again; exactly what a scan of the file gives.

The first query of a process scans, so that a single search reads no more than it needs. From the
second one on, until someone writes to the store, all vectors lie in one matrix, and each word asked
for stays with the passages that hold it and its part of their BM25: FTS5 finds 100,000 passages in
5 ms, and takes 70 to weigh them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any, TypeVar, cast

import apsw
import numpy as np
from numpy.typing import NDArray

from search.store.sqlite.expressions import TEXT_WEIGHT, TITLE_WEIGHT, Parameter, where_sql
from search.store.sqlite.rankings import Query, Scan
from search.types import Condition

T = TypeVar("T")

MAX_VECTOR_BYTES = 2 << 30
"""Larger stores are scanned: what they would take in memory is more than a search is worth."""
MAX_WORD_BYTES = 512 << 20
WORD_BYTES = 500
"""What a word takes besides its passages."""
MAX_FILTERS = 32
ROUNDING = 1e-5
"""The largest error of a sum in float32."""

Keys = NDArray[np.int64]
Positions = NDArray[np.intp]
"""Where in a snapshot's keys passages stand; rising."""
Postings = tuple[Positions | slice, NDArray[np.float64]]
"""The passages that hold a word, and what it adds to the BM25 of each. Of a word that is in most
passages, all of them: adding is five times as fast where no position has to be looked up."""
Vector = NDArray[np.float32]  # (dimensions,)

READ_GENERATION = "SELECT value FROM properties WHERE name = 'generation'"
MARK_WRITTEN = """
INSERT OR REPLACE INTO properties VALUES ('generation', lower(hex(randomblob(8))))
"""
_ALLOWED = """
SELECT passages.key FROM passages JOIN documents ON documents.key = document WHERE {condition}
"""
_POSTINGS = "SELECT rowid, -bm25(words, ?, ?) FROM words WHERE words MATCH ? ORDER BY rowid"


@dataclass(slots=True)
class Snapshot:
    """One state of the store, as far as it has been read."""

    generation: str
    keys: Keys  # (passages,), rising
    vectors: NDArray[np.float32] | None = None  # (passages, dimensions), each of length 1
    vectors_were_read: bool = False
    vectors_lock: Lock = field(default_factory=Lock)
    allowed: dict[str, Positions] = field(default_factory=dict)
    words: dict[str, Postings] = field(default_factory=dict)
    words_bytes: int = 0
    words_lock: Lock = field(default_factory=Lock)

    def positions(self, keys: Keys) -> Positions | None:
        """None when there is no passage of such a key."""
        found = np.searchsorted(self.keys, keys)
        known = not len(keys) or (found[-1] < len(self.keys) and (self.keys[found] == keys).all())
        return found if known else None


class Memory:
    """Shared by the threads of a store; each brings its own connection, in a transaction."""

    def __init__(self) -> None:
        self._taking = Lock()
        self._seen: str | None = None
        self._snapshot: Snapshot | None = None
        self._kept: dict[Callable[[apsw.Connection], object], tuple[str | None, Any]] = {}

    def kept(self, connection: apsw.Connection, read: Callable[[apsw.Connection], T]) -> T:
        """What `read` finds, until someone writes to the store."""
        generation = connection.execute(READ_GENERATION).get
        of, found = self._kept.get(read, (None, None))
        if generation is None or of != generation:
            found = read(connection)
            self._kept[read] = (generation, found)
        return cast(T, found)

    def rankings(self, connection: apsw.Connection, query: Query) -> Scan:
        """How to answer `query`, from memory where that is worth it. Call it once for each query:
        the second one of a state is what makes it worth it."""
        snapshot = self._current(connection)
        return Scan(connection, query) if snapshot is None else Lookup(connection, query, snapshot)

    def forget(self) -> None:
        """Drop what is held: a writer may have changed the file while it was read."""
        self._snapshot = self._seen = None
        self._kept.clear()

    def _current(self, connection: apsw.Connection) -> Snapshot | None:
        generation = connection.execute(READ_GENERATION).get
        with self._taking:
            held = self._snapshot
            if held is not None and held.generation == generation:
                return held
            # A store that is being written to shows another generation each time, and is not read
            # over and over.
            again, self._seen = generation == self._seen, generation
            if generation is None or not again:
                return None
            self._snapshot = None  # before the next one, not beside it
            self._snapshot = Snapshot(generation, _keys(connection, "SELECT key FROM passages"))
            return self._snapshot


class Lookup(Scan):
    """Answers from a snapshot; what it does not hold, and cannot, is scanned for."""

    def __init__(self, connection: apsw.Connection, query: Query, snapshot: Snapshot) -> None:
        super().__init__(connection, query)
        self._held = snapshot

    def nearest(self, k: int) -> dict[int, float]:
        """Cosine similarity (-1 to 1) of the k nearest passages, best first."""
        rows, vector = self._vectors, self._query.vector
        if rows is None or vector is None:
            return super().nearest(k)
        allowed = self._allowed
        if allowed is None or len(allowed) > len(rows) // 8:
            scores = _products(rows, vector)
            scores = scores if allowed is None else scores[allowed]
        else:
            scores = _products(rows[allowed], vector)
        chosen = _at_least_kth(scores, k, ROUNDING)
        chosen = chosen if allowed is None else allowed[chosen]
        return self._best(chosen, _cosines(rows[chosen], vector), k)

    def cosines_of(self, keys: Collection[int]) -> dict[int, float]:
        """Cosine similarity of these passages."""
        wanted = np.array(sorted(keys), np.int64)
        rows, vector = self._vectors, self._query.vector
        positions = self._held.positions(wanted)
        if rows is None or vector is None or positions is None:
            return super().cosines_of(keys)
        return _as_dict(wanted, _cosines(rows[positions], vector))

    def bm25(self, k: int) -> dict[int, float]:
        """BM25 of the k best passages that match, best first."""
        scores = self._word_scores
        if scores is None:
            return super().bm25(k)
        allowed = self._allowed
        scores = scores if allowed is None else scores[allowed]
        chosen = _at_least_kth(scores, k)
        chosen = chosen[scores[chosen] > 0]
        return self._best(chosen if allowed is None else allowed[chosen], scores[chosen], k)

    def bm25_of(self, keys: Collection[int]) -> dict[int, float]:
        """BM25 of these passages; 0 for one that does not match."""
        wanted = np.array(sorted(keys), np.int64)
        scores, positions = self._word_scores, self._held.positions(wanted)
        if scores is None or positions is None:
            return super().bm25_of(keys)
        return _as_dict(wanted, scores[positions])

    def _best(
        self, positions: NDArray[np.intp], scores: NDArray[np.float64], k: int
    ) -> dict[int, float]:
        """The k highest, ties by key."""
        order = np.argsort(-scores, kind="stable")[:k]
        return _as_dict(self._held.keys[positions[order]], scores[order])

    @cached_property
    def _allowed(self) -> Positions | None:
        """The passages that the filters let through; None without filters."""
        filters, allowed = self._query.filters, self._held.allowed
        if not filters:
            return None
        name = repr(filters)  # equal conditions may differ: 1 == True
        positions = allowed.get(name)
        if positions is None:
            positions = _read_allowed(self._connection, self._held, filters)
            if len(allowed) >= MAX_FILTERS:
                allowed.clear()
            allowed[name] = positions
        return positions

    @cached_property
    def _vectors(self) -> NDArray[np.float32] | None:
        held, vector = self._held, self._query.vector
        if vector is None:
            return None
        # While one thread reads the vectors, the others scan.
        if not held.vectors_were_read and held.vectors_lock.acquire(blocking=False):
            try:
                if not held.vectors_were_read:
                    held.vectors = _read_vectors(self._connection, held.keys, len(vector))
                    held.vectors_were_read = True
            finally:
                held.vectors_lock.release()
        return held.vectors

    @cached_property
    def _word_scores(self) -> NDArray[np.float64] | None:
        """BM25 of each passage; None where the word index has others than these passages.

        A word's part does not depend on the other words, and FTS5 adds them in this order, too.
        """
        if not self._query.terms:
            return None
        scores = np.zeros(len(self._held.keys))
        for term in self._query.terms:
            postings = self._held.words.get(term) or self._read_word(term)
            if postings is None:
                return None
            positions, parts = postings
            scores[positions] += parts
        return scores

    def _read_word(self, term: str) -> Postings | None:
        held = self._held
        with held.words_lock:  # one thread reads a common word, and all have it
            if term in held.words:
                return held.words[term]
            postings = _read_postings(self._connection, held, term)
            if postings is not None:
                held.words[term] = postings
                held.words_bytes += _bytes(postings)
                while held.words_bytes > MAX_WORD_BYTES and len(held.words) > 1:
                    held.words_bytes -= _bytes(held.words.pop(next(iter(held.words))))
            return postings


def _keys(connection: apsw.Connection, query: str, parameters: Sequence[Parameter] = ()) -> Keys:
    """The keys that a query gives, rising."""
    found = connection.execute(query, parameters)
    return np.sort(np.fromiter((key for (key,) in found), np.int64))


def _read_allowed(
    connection: apsw.Connection, snapshot: Snapshot, filters: Sequence[Condition]
) -> Positions:
    condition, parameters = where_sql(filters)
    keys = _keys(connection, _ALLOWED.format(condition=condition), parameters)
    return np.flatnonzero(np.isin(snapshot.keys, keys, assume_unique=True))


def _read_vectors(
    connection: apsw.Connection, keys: Keys, dimensions: int
) -> NDArray[np.float32] | None:
    """None for a store too large, or with a vector that is missing or not as it should be."""
    if not 0 < len(keys) * dimensions * 4 <= MAX_VECTOR_BYTES:
        return None
    rows = np.empty((len(keys), dimensions), np.float32)
    count = 0
    for key, blob in connection.execute("SELECT passage, embedding FROM vectors ORDER BY passage"):
        if count == len(keys) or key != keys[count] or len(blob) != dimensions * 4:
            return None
        rows[count] = np.frombuffer(blob, "<f4")
        count += 1
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    if count < len(keys) or not np.all(np.abs(lengths - 1) < 1e-3):
        return None  # a scan divides by the length
    return rows


def _read_postings(connection: apsw.Connection, snapshot: Snapshot, term: str) -> Postings | None:
    """None where the word index holds a passage that is not there."""
    rows = connection.execute(_POSTINGS, (TITLE_WEIGHT, TEXT_WEIGHT, term))
    found = np.fromiter(rows, [("key", np.int64), ("part", np.float64)])
    positions = snapshot.positions(np.ascontiguousarray(found["key"]))
    if positions is None:
        return None
    if 2 * len(positions) <= len(snapshot.keys):
        return positions, np.ascontiguousarray(found["part"])
    parts = np.zeros(len(snapshot.keys))
    parts[positions] = found["part"]
    return slice(None), parts


def _bytes(postings: Postings) -> int:
    positions, parts = postings
    return WORD_BYTES + parts.nbytes + (0 if isinstance(positions, slice) else positions.nbytes)


def _at_least_kth(
    scores: NDArray[np.floating[Any]], k: int, margin: float = 0.0
) -> NDArray[np.intp]:
    """Where the k highest scores are, and all that are lower by no more than `margin`."""
    if k >= len(scores):
        return np.arange(len(scores))
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= kth - margin)


def _cosines(rows: NDArray[np.float32], query: Vector) -> NDArray[np.float64]:
    # In float32 one vector stored twice gives two sums that differ in the last bit.
    return (rows.astype(np.float64) @ query.astype(np.float64)).round(12)


def _as_dict(keys: Keys, scores: NDArray[np.float64]) -> dict[int, float]:
    return dict(zip(keys.tolist(), scores.tolist(), strict=True))


def _products(rows: NDArray[np.float32], query: Vector) -> NDArray[np.float32]:
    """rows · query on the caller's thread: BLAS takes more threads of its own, which wait for each
    other when several queries come at once (3 times as long, for twice the processor time)."""
    products: NDArray[np.float32] = np.einsum("ij,j->i", rows, query)
    return products
