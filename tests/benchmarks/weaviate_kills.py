"""What a `kill -9` of a Weaviate costs: python tests/benchmarks/weaviate_kills.py --kills 5

Ingests documents whose vectors are given (no model), kills the server during, right after, or a
while after it, starts it again, and looks every passage up: by iteration, by its own vector, by its
own words; then ingests the same again and looks once more. Needs WEAVIATE_BINARY, and
PYTHONPATH=tests/integration. The report is Markdown.
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import weaviate
from store_support import HashedWords, random_entries
from weaviate_nodes import Binary
from weaviate_server import find_binary
from weaviate_stores import lookups

import config
from search.errors import StoreError
from search.store.weaviate.store import WeaviateStore

BATCH = 64
INDEXING = ("async", "sync")
WHEN = ("during", "after", "idle")
IDLE_SECONDS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1, help="of each kind")
    parser.add_argument("--documents", type=int, default=600)
    parser.add_argument("--when", nargs="*", choices=WHEN, default=WHEN)
    parser.add_argument(
        "--indexing", nargs="*", choices=["async", "sync"], default=["async", "sync"]
    )
    args = parser.parse_args()
    path = find_binary()
    assert path is not None, "set WEAVIATE_BINARY"
    print(
        "| killed | ASYNC_INDEXING | first ingest | after the kill | after the same ingest again |"
    )
    print("|---|---|---|---|---|")
    for indexing in args.indexing:
        for when in args.when:
            for _ in range(args.kills):
                with tempfile.TemporaryDirectory() as folder:
                    line = one(path, Path(folder), when, indexing == "async", args.documents)
                print(f"| {when} | {'on' if indexing == 'async' else 'off'} | {line} |", flush=True)


def one(path: str, folder: Path, when: str, later: bool, count: int) -> str:
    """One kill; what was found, as `passages / by vector / by words`."""
    server = Binary(path, folder / "data", {"ASYNC_INDEXING": str(later).lower()})
    server.start()
    server.wait()
    try:
        outcome: list[str] = []
        thread = threading.Thread(target=lambda: outcome.append(ingest(server, count)))
        thread.start()
        if when == "during":
            wait_for(server, count * 2 // 3)
            server.kill()
            time.sleep(1)
            server.start()
        thread.join()
        if when != "during":
            time.sleep(IDLE_SECONDS if when == "idle" else 0)
            server.kill()
            server.start()
        server.wait()
        time.sleep(3)
        killed = lookups(server.server)
        again = ingest(server, count)
        return f"{outcome[0]} | {killed} | {again}: {lookups(server.server)}"
    finally:
        server.stop()


def ingest(server: Binary, count: int) -> str:
    """As `python -m ingest` does: what is stored already is not sent."""
    flags = server.server.flags | {"weaviate.vectorizer": "none"}
    stored = unchanged = rejected = 0
    try:
        with closing(WeaviateStore(config.load(flags), HashedWords, create=True)) as store:
            entries = list(random_entries(count))
            for start in range(0, count, BATCH):
                batch = entries[start : start + BATCH]
                there = held(store, [entry.document.id for entry in batch])
                new = [e for e in batch if there.get(e.document.id) != e.content_hash]
                failures = store.put(new) if new else []
                rejected += len(failures)
                stored += len(new) - len(failures)
                unchanged += len(batch) - len(new)
            store.describe()
    except StoreError as error:
        return f"error ({str(error)[:60]}…)"
    return f"{stored} stored, {unchanged} unchanged, {rejected} rejected"


def held(store: Any, names: list[str]) -> dict[str, str]:
    if hasattr(store, "hashes"):  # before sources were kept
        return dict(store.hashes(names))
    return {name: one.content_hash for name, one in store.stored(names).items()}


def wait_for(server: Binary, least: int) -> None:
    """Until so many objects are there."""
    with connected(server) as client:
        while True:
            with suppress(Exception):
                total = client.collections.use("Document").aggregate.over_all().total_count
                if (total or 0) >= least:
                    return
            time.sleep(0.02)


def connected(server: Binary) -> weaviate.WeaviateClient:
    return weaviate.connect_to_local(port=server.rest, grpc_port=server.grpc, skip_init_checks=True)


if __name__ == "__main__":
    main()
