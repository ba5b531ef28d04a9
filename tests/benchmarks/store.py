"""Times of the embedded store at 100,000 passages, beside NumPy over a matrix in memory.

Each row asks questions of its own, of words as skewed as those of the passages, in a process that
has answered WARM_UP others; a scan is what the first query of a process does.


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
from search.types import Condition, Document, EmbeddingInfo, Entry, Passage, RetrievalMode

DIMENSIONS, K, REPEATS, BATCH = 384, 100, 20, 1000
WARM_UP = 50
THREADS = 4
YEAR = Condition("year", "=", 2005)
VEC0_YEAR = "AND rowid IN (SELECT key FROM years WHERE metadata ->> '$.year' = 2005)"
# Words as skewed as in real text: the commonest is in most passages, most are in a few.
VOCABULARY, WORDS_PER_PASSAGE = 30_000, 80


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


Action = Callable[[int, str], object]
"""Takes the number of a query vector, and a question."""


class Clock:
    """Times actions; each gets questions that no other has had."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def questions(self, count: int) -> list[str]:
        return [f"{i % REPEATS} {words(self._random, 6)}" for i in range(count)]

    def one_by_one(self, action: Action) -> str:
        """Median and slowest, then the median of processor time, in milliseconds."""
        times = np.array([self._time(action, *q) for q in enumerate(self.questions(REPEATS))])
        wall, processor_time = 1e3 * times.T
        return f"{np.median(wall):.1f} | {wall.max():.1f} | {np.median(processor_time):.1f}"

    def together(self, action: Action) -> str:
        """The same, while four threads ask at once; their processor time is not told apart."""
        questions = self.questions(4 * REPEATS)
        with ThreadPoolExecutor(THREADS) as threads:
            times = threads.map(
                lambda q: self._time(action, q[0] % REPEATS, q[1]), enumerate(questions)
            )
            wall = 1e3 * np.array([time for time, _ in times])
        return f"{np.median(wall):.1f} | {wall.max():.1f} |"

    @staticmethod
    def _time(action: Action, i: int, question: str) -> tuple[float, float]:
        start, used = time.perf_counter(), time.process_time()
        action(i, question)
        return time.perf_counter() - start, time.process_time() - used


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


def scan(path: Path, text: str, embedder: Given, mode: RetrievalMode) -> object:
    """A store that was just opened holds nothing in memory: what a single search does."""
    with closing(SqliteStore(path, embedder)) as store:
        return store.retrieve(text, K, mode=mode)


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
    embedder = Given(unit_vectors(random, passages), unit_vectors(random, REPEATS))
    matrix, queries = embedder.matrix, embedder.queries
    clock = Clock(random)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        store = SqliteStore(path, embedder, create=True)
        seconds = fill(store, random, passages)
        vec0 = Vec0(Path(folder) / "vec0.db", matrix)
        for i, text in enumerate(clock.questions(WARM_UP)):
            found = [int(c.document_id[1:]) for c in store.retrieve(text, K, mode="near_text")]
            assert set(found) == set(top_k(matrix, queries[i % REPEATS])), "the store is exact"
            store.retrieve(text, K, [YEAR] if i == 0 else [])
        rows: dict[str, Action] = {
            "NumPy, matrix in memory": lambda i, _: top_k(matrix, queries[i]),
            "vec0": lambda i, _: vec0.nearest(queries[i]),
            "vec0, one year of 20": lambda i, _: vec0.nearest(queries[i], VEC0_YEAR),
            "near_text, a scan of the file": lambda _, q: scan(path, q, embedder, "near_text"),
            "bm25, a scan of the file": lambda _, q: scan(path, q, embedder, "bm25"),
            "hybrid, a scan of the file": lambda _, q: scan(path, q, embedder, "hybrid"),
            "near_text": lambda _, q: store.retrieve(q, K, mode="near_text"),
            "near_text, one year of 20": lambda _, q: store.retrieve(q, K, [YEAR], "near_text"),
            "bm25, 6 words": lambda _, q: store.retrieve(q, K, mode="bm25"),
            "bm25, one year of 20": lambda _, q: store.retrieve(q, K, [YEAR], "bm25"),
            "hybrid": lambda _, q: store.retrieve(q, K),
            "hybrid, one year of 20": lambda _, q: store.retrieve(q, K, [YEAR]),
        }
        print(f"# Embedded store: {passages:,} passages × {DIMENSIONS} dimensions\n")
        print("Made by `python tests/benchmarks/store.py`: random unit")
        print(f"vectors, passages of {WORDS_PER_PASSAGE} Zipf-distributed words, one a document.")
        print(f"Processor: {processor()}. {store.describe().version}.\n")
        print(f"Top {K}, with the rows they lead to, over {REPEATS} queries (exact: checked).\n")
        print("| search | median ms | slowest ms | processor time ms |\n|---|---:|---:|---:|")
        for name, action in rows.items():
            print(f"| {name} | {clock.one_by_one(action)} |")
        for name in ("near_text", "bm25, 6 words", "hybrid", "hybrid, one year of 20"):
            print(f"| {name}, {THREADS} threads at once | {clock.together(rows[name])} |")
        store.close()  # what lies in the log goes into the file
        print(f"\nput(): {passages / seconds:,.0f} passages/s in batches of {BATCH}, ", end="")
        print(f"embedding not counted; the file has {path.stat().st_size / 2**20:,.0f} MiB.")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"Peak memory of this process, which holds a matrix of its own, too: {peak:,.0f} MiB."
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
