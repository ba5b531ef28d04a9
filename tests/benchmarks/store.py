"""Times of the embedded store at 100,000 passages, beside NumPy over a matrix in memory.

python tests/benchmarks/store.py [PASSAGES]
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[2]))

from machine import processor

from search.store.sqlite import SqliteStore
from search.store.sqlite.connection import connect, load_vector_functions, transaction
from search.types import Condition, Document, EmbeddingInfo, Entry, Passage

DIMENSIONS, K, REPEATS, BATCH = 384, 100, 20, 1000
THREADS = 4
YEAR = Condition("year", "=", 2005)
VEC0_YEAR = "AND rowid IN (SELECT key FROM years WHERE metadata ->> '$.year' = 2005)"
# Words as skewed as in real text: the commonest is in most passages, most are in a few.
VOCABULARY, WORDS_PER_PASSAGE = 30_000, 80


Rows = npt.NDArray[np.float32]


class Given:
    """Vectors made beforehand: a passage names its row, and a query is a row of its own."""

    info = EmbeddingInfo("random", "1", DIMENSIONS)

    def __init__(self, matrix: npt.NDArray[np.float32], queries: npt.NDArray[np.float32]) -> None:
        self.matrix, self.queries = matrix, queries

    def encode_passages(self, texts: list[str]) -> npt.NDArray[np.float32]:
        return self.matrix[[int(text.split(" ", 1)[0]) for text in texts]]

    def encode_query(self, text: str) -> npt.NDArray[np.float32]:
        return self.queries[int(text.split(" ", 1)[0])]


def unit_vectors(random: np.random.Generator, count: int) -> npt.NDArray[np.float32]:
    rows = random.standard_normal((count, DIMENSIONS), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def words(random: np.random.Generator, count: int) -> str:
    return " ".join(f"w{n % VOCABULARY}" for n in random.zipf(1.2, count))


def top_k(matrix: npt.NDArray[np.float32], query: npt.NDArray[np.float32]) -> list[int]:
    scores = matrix @ query
    best = np.argpartition(-scores, K)[:K]
    return [int(i) for i in best[np.argsort(-scores[best])]]


def together(action: Callable[[int], object]) -> str:
    """The same, while four threads ask at once."""

    def timed(i: int) -> float:
        start = time.perf_counter()
        action(i % REPEATS)
        return 1e3 * (time.perf_counter() - start)

    with ThreadPoolExecutor(THREADS) as threads:
        times = list(threads.map(timed, range(2 * REPEATS)))
    return f"{np.median(times):.1f} | {max(times):.1f}"


def milliseconds(action: Callable[[int], object]) -> str:
    action(0)
    times = []
    for i in range(REPEATS):
        start = time.perf_counter()
        action(i)
        times.append(1e3 * (time.perf_counter() - start))
    return f"{np.median(times):.1f} | {max(times):.1f}"


class Vec0:
    """sqlite-vec's own table with the same vectors: what the store might use instead."""

    def __init__(self, path: Path, matrix: npt.NDArray[np.float32]) -> None:
        self.connection = connect(path, create=True)
        load_vector_functions(self.connection)
        self.connection.execute(
            f"CREATE VIRTUAL TABLE v USING vec0(e float[{DIMENSIONS}] distance_metric=cosine);"
            "CREATE TABLE years (key INTEGER PRIMARY KEY, metadata TEXT)"
        )
        with transaction(self.connection):
            self.connection.executemany(
                "INSERT INTO v (rowid, e) VALUES (?, ?)", enumerate(row.tobytes() for row in matrix)
            )
            self.connection.executemany(
                "INSERT INTO years VALUES (?, ?)",
                ((i, f'{{"year": {2000 + i % 20}}}') for i in range(len(matrix))),
            )

    def nearest(self, query: npt.NDArray[np.float32], only: str = "") -> list[object]:
        search = f"SELECT rowid, distance FROM v WHERE e MATCH ? AND k = {K} {only}"
        return self.connection.execute(search, (query.tobytes(),)).fetchall()


def scan(path: Path, text: str, matrix: Rows, queries: Rows) -> object:
    """A store that was just opened holds no vectors in memory: what a single search does."""
    with closing(SqliteStore(path, Given(matrix, queries))) as store:
        return store.retrieve(text, K, mode="near_text")


def fill(store: SqliteStore, random: np.random.Generator, passages: int) -> float:
    """Seconds in put()."""
    seconds = 0.0
    for first in range(0, passages, BATCH):
        texts = {i: f"{i} {words(random, WORDS_PER_PASSAGE)}" for i in range(first, first + BATCH)}
        entries = [
            Entry(Document(f"d{i}", "", text, {"year": 2000 + i % 20}), (Passage(text),), "1")
            for i, text in texts.items()
        ]
        start = time.perf_counter()
        store.put(entries)
        seconds += time.perf_counter() - start
    return seconds


def main(passages: int) -> None:
    random = np.random.default_rng(0)
    matrix, queries = unit_vectors(random, passages), unit_vectors(random, REPEATS)
    texts = [f"{i} {words(random, 6)}" for i in range(REPEATS)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        store = SqliteStore(path, Given(matrix, queries), create=True)
        seconds = fill(store, random, passages)
        vec0 = Vec0(Path(folder) / "vec0.db", matrix)
        for i, text in enumerate(texts):
            found = [int(c.document_id[1:]) for c in store.retrieve(text, K, mode="near_text")]
            assert set(found) == set(top_k(matrix, queries[i])), "the store is exact"
        rows = {
            "NumPy, matrix in memory": lambda i: top_k(matrix, queries[i]),
            "vec0": lambda i: vec0.nearest(queries[i]),
            "vec0, one year of 20": lambda i: vec0.nearest(queries[i], VEC0_YEAR),
            "near_text, a scan of the file": lambda i: scan(path, texts[i], matrix, queries),
            "near_text": lambda i: store.retrieve(texts[i], K, mode="near_text"),
            "near_text, one year of 20": lambda i: store.retrieve(texts[i], K, [YEAR], "near_text"),
            "bm25, 6 words": lambda i: store.retrieve(texts[i], K, mode="bm25"),
            "bm25, one year of 20": lambda i: store.retrieve(texts[i], K, [YEAR], "bm25"),
            "hybrid": lambda i: store.retrieve(texts[i], K),
            "hybrid, one year of 20": lambda i: store.retrieve(texts[i], K, [YEAR]),
        }
        print(f"# Embedded store: {passages:,} passages × {DIMENSIONS} dimensions\n")
        print("Made by `python tests/benchmarks/store.py`: random unit")
        print(f"vectors, passages of {WORDS_PER_PASSAGE} Zipf-distributed words, one a document.")
        print(f"Processor: {processor()}. {store.describe().version}.\n")
        print(f"Top {K}, with the rows they lead to, over {REPEATS} queries (exact: checked).\n")
        print("| search | median ms | slowest ms |\n|---|---:|---:|")
        for name, action in rows.items():
            print(f"| {name} | {milliseconds(action)} |")
        for name in ("near_text", "hybrid", "hybrid, one year of 20"):
            print(f"| {name}, {THREADS} threads at once | {together(rows[name])} |")
        print(f"\nput(): {passages / seconds:,.0f} passages/s in batches of {BATCH}, ", end="")
        print(f"embedding not counted; the file has {path.stat().st_size / 2**20:,.0f} MiB.")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"Peak memory of this process, which holds a matrix of its own, too: {peak:,.0f} MiB."
        )
        store.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
