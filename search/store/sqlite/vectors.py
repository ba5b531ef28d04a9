"""Nearest passages: by a scan of the file, or from memory in a process that asks again.

Both are exact. The first query of a process scans, so that a single search reads no more than it
needs; from the second one on, all vectors lie in one matrix until someone writes to the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import apsw
import numpy as np
from numpy.typing import NDArray

from search.store.sqlite import rankings
from search.store.sqlite.expressions import where_sql
from search.types import Condition

MAX_BYTES = 2 << 30
"""Larger stores are scanned: what they would take in memory is more than a search is worth."""
MAX_FILTERS = 32
ROUNDING = 1e-5
"""The largest error of a sum in float32."""

Keys = NDArray[np.int64]


@dataclass(slots=True)
class _Matrix:
    """All vectors of one state of the store, and which passages some filters let through."""

    generation: str
    keys: Keys  # (passages,), rising
    rows: NDArray[np.float32]  # (passages, dimensions), each of length 1
    allowed: dict[str, Keys] = field(default_factory=dict)


class Vectors:
    """Shared by the threads of a store; each brings its own connection, in a transaction."""

    def __init__(self) -> None:
        self._loading = Lock()
        self._seen: str | None = None
        self._matrix: _Matrix | None = None

    def nearest(
        self,
        connection: apsw.Connection,
        query: NDArray[np.float32],  # (dimensions,)
        k: int,
        filters: Sequence[Condition],
    ) -> dict[int, float]:
        """Cosine similarity (-1 to 1) of the k nearest passages, best first."""
        matrix = self._current(connection, len(query))
        if matrix is None:
            return rankings.nearest(connection, query, k, filters)
        indices = _allowed(connection, matrix, filters) if filters else None
        return _best(matrix, indices, query, k)

    def forget(self) -> None:
        """Drop the vectors: a writer may have changed the file while they were read."""
        self._matrix = self._seen = None

    def _current(self, connection: apsw.Connection, dimensions: int) -> _Matrix | None:
        """The matrix of the state that `connection` sees; None where a scan is needed."""
        generation = connection.execute(READ_GENERATION).get
        matrix = self._matrix
        if matrix is not None and matrix.generation == generation:
            return matrix
        again, self._seen = generation == self._seen, generation
        # While one thread reads the vectors, the others scan. A store that is being written to
        # shows another generation each time, and is not read over and over.
        if generation is None or not again or not self._loading.acquire(blocking=False):
            return None
        try:
            self._matrix = None  # before the next one, not beside it
            self._matrix = _read(connection, generation, dimensions)
            return self._matrix
        finally:
            self._loading.release()


READ_GENERATION = "SELECT value FROM properties WHERE name = 'generation'"
MARK_WRITTEN = """
INSERT OR REPLACE INTO properties VALUES ('generation', lower(hex(randomblob(8))))
"""
_ALLOWED = """
SELECT passages.key FROM passages JOIN documents ON documents.key = document
WHERE {condition} ORDER BY passages.key
"""


def _read(connection: apsw.Connection, generation: str, dimensions: int) -> _Matrix | None:
    """None for a store too large, or with a vector that is not as it should be."""
    count = connection.execute("SELECT count(*) FROM vectors").get
    if not 0 < count * dimensions * 4 <= MAX_BYTES:
        return None
    keys, rows = np.empty(count, np.int64), np.empty((count, dimensions), np.float32)
    for i, (key, blob) in enumerate(
        connection.execute("SELECT passage, embedding FROM vectors ORDER BY passage")
    ):
        if len(blob) != dimensions * 4:
            return None
        keys[i], rows[i] = key, np.frombuffer(blob, "<f4")
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    if not np.all(np.abs(lengths - 1) < 1e-3):
        return None  # a scan divides by the length
    return _Matrix(generation, keys, rows)


def _allowed(
    connection: apsw.Connection, matrix: _Matrix, filters: Sequence[Condition]
) -> NDArray[np.intp]:
    """Indices of the passages that the filters let through."""
    name = repr(filters)  # equal conditions may differ: 1 == True
    keys = matrix.allowed.get(name)
    if keys is None:
        condition, parameters = where_sql(filters)
        found = connection.execute(_ALLOWED.format(condition=condition), parameters)
        keys = np.fromiter((key for (key,) in found), np.int64)
        if len(matrix.allowed) >= MAX_FILTERS:
            matrix.allowed.clear()
        matrix.allowed[name] = keys
    keys = np.intersect1d(keys, matrix.keys, assume_unique=True)
    return np.searchsorted(matrix.keys, keys)


def _best(
    matrix: _Matrix, indices: NDArray[np.intp] | None, query: NDArray[np.float32], k: int
) -> dict[int, float]:
    """The k highest of those `indices` (None: of all), ties by key."""
    if indices is None or len(indices) > len(matrix.keys) // 8:
        scores = _products(matrix.rows, query)
        scores = scores if indices is None else scores[indices]
    else:
        scores = _products(matrix.rows[indices], query)
    if k < len(scores):
        near = np.argpartition(scores, len(scores) - k)[len(scores) - k :]
        chosen = np.flatnonzero(scores >= scores[near].min() - ROUNDING)
    else:
        chosen = np.arange(len(scores))
    chosen = chosen if indices is None else indices[chosen]
    # In float32 one vector stored twice gives two sums that differ in the last bit.
    exact = (matrix.rows[chosen].astype(np.float64) @ query.astype(np.float64)).round(12)
    order = np.lexsort((matrix.keys[chosen], -exact))[:k]
    keys = matrix.keys[chosen[order]]
    return dict(zip(keys.tolist(), exact[order].tolist(), strict=True))


def _products(rows: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """rows · query on the caller's thread: BLAS takes more threads of its own, which wait for each
    other when several queries come at once (3 times as long, for twice the processor time)."""
    products: NDArray[np.float32] = np.einsum("ij,j->i", rows, query)
    return products
