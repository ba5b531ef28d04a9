"""Ingest into a Weaviate in one run: who makes the vectors, and how many requests at once.

    python tests/benchmarks/weaviate_ingest.py CORPUS [--pid SERVER --pid SERVICE]

CORPUS is anything that `python -m ingest` reads. WEAVIATE_URL (and SEARCH_WEAVIATE__GRPC_PORT) name
a server whose text2vec-transformers is `python -m search.serve`; classes of this benchmark's own
are made there and deleted. With the ids of these two processes, where they run on this machine,
the report also counts the processor seconds of all three: other work hardly disturbs these. The
report is Markdown.
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import config
from search.store.weaviate.server import connect

ROOT = Path(__file__).parents[2]
CLASS = "IngestBenchmark"
# The module embeds the objects of one request one by one: only more requests at once help it.
WAYS: dict[str, dict[str, Any]] = {
    "the server embeds, 1 request at once": {"vectors": "server", "concurrency": 1},
    "the server embeds, 16 requests at once": {
        "vectors": "server",
        "concurrency": 16,
        "batch_bytes": 8192,
    },
    "our vectors, 1 request at once": {"vectors": "ours", "concurrency": 1},
    "our vectors, 4 requests at once": {
        "vectors": "ours",
        "concurrency": 4,
        "batch_bytes": 65_536,
    },
}


def ingest(corpus: Path, folder: Path, way: dict[str, Any]) -> dict[str, Any]:
    """Into a class that is not there yet; the summary."""
    drop()
    flags = {"weaviate.collection": CLASS, "store": folder / "store.db"}
    flags |= {f"weaviate.{name}": value for name, value in way.items()}
    sets = [word for name, value in flags.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "ingest", str(corpus.resolve()), "--json", "--quiet", *sets]
    rejects = ["--rejects", str(folder / "rejects.jsonl")]
    done = subprocess.run([*command, *rejects], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def processor_seconds(processes: list[int]) -> float:
    """Used so far by the ingests of this run and by those processes."""
    ours = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = ours.ru_utime + ours.ru_stime
    for process in processes:
        fields = (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        )
        used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def drop() -> None:
    settings = config.load(environment=os.environ)
    if settings.weaviate_url is None:
        raise SystemExit("set WEAVIATE_URL to a server that calls `python -m search.serve`")
    server = connect(settings.weaviate_url, settings.weaviate)
    server.client.collections.delete(CLASS)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--pid", type=int, action="append", default=[])
    args = parser.parse_args()
    seconds: dict[str, float] = {}
    processor: dict[str, float] = {}
    for name, way in WAYS.items():
        before = processor_seconds(args.pid)
        with tempfile.TemporaryDirectory() as folder:
            summary = ingest(args.corpus, Path(folder), way)
        processor[name] = processor_seconds(args.pid) - before
        seconds[name] = summary["seconds"]
        assert summary["rejected"] == 0, summary
    drop()
    base = "our vectors, 1 request at once"
    print(f"{summary['stored']:,} documents, {summary['store']['passages']:,} passages\n")
    print("| way | seconds | documents/s | time, as a ratio | processor seconds | as a ratio |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, took in seconds.items():
        rate, ratio = summary["stored"] / took, took / seconds[base]
        used = f"{processor[name]:.0f} | {processor[name] / processor[base]:.2f}"
        print(f"| {name} | {took:.1f} | {rate:.1f} | {ratio:.2f} | {used} |")


if __name__ == "__main__":
    main()
