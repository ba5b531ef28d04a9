"""Search latency: each stage warm, and a process from its start to the answer.

    python tests/benchmarks/latency.py --store .search/store.db --queries data/medical/queries.jsonl

Prints medians and 95th percentiles in milliseconds; the processor is named, since it decides.
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import processor

import config
from search.queries import read_queries
from search.searcher import Searcher

ROOT = Path(__file__).parents[2]


def warm(store: Path, queries: list[str]) -> None:
    settings = config.load({"store": store})
    with Searcher.from_settings(settings) as searcher:
        searcher.search(queries[0])
        rankings = [searcher.search(query) for query in queries]
    print(f"{len(queries)} queries, K = {settings.candidates}, {dict(rankings[0].model)}")
    for stage in ("retrieve", "rerank", "highlight", "total"):
        row(stage, [ranking.timings_ms[stage] for ranking in rankings])


def cold(store: Path, query: str, runs: int) -> None:
    """Processes are what a shell user waits for: imports and model loading included."""
    command = [sys.executable, "-m", "search", "--store", str(store.resolve()), query]
    milliseconds = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        milliseconds.append(1000 * (time.perf_counter() - start))
    row("cold, process start to answer", milliseconds)


def row(name: str, milliseconds: list[float]) -> None:
    ordered = sorted(milliseconds)
    late = ordered[int(0.95 * (len(ordered) - 1))]
    print(f"{name:<30} median {statistics.median(ordered):8.1f} ms   95% {late:8.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path(".search/store.db"))
    parser.add_argument("--queries", default="data/medical/queries.jsonl")
    parser.add_argument("--limit-queries", type=int, default=50)
    parser.add_argument("--cold", type=int, default=5, metavar="N", help="processes to start")
    args = parser.parse_args()
    queries = read_queries(Path(args.queries))[: args.limit_queries]
    print(processor())
    warm(args.store, queries)
    if args.cold:
        cold(args.store, queries[0], args.cold)


if __name__ == "__main__":
    main()
