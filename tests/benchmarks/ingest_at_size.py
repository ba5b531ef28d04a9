"""Ingest at size: kills at random moments, rate, and peak memory.

    python tests/benchmarks/ingest_at_size.py kills CORPUS --kills 20     against an undisturbed run
    python tests/benchmarks/ingest_at_size.py rate CORPUS                 rate and peak memory
    python tests/benchmarks/ingest_at_size.py rate CORPUS --documents 100000   the data repeated

CORPUS is a JSONL file or a BEIR folder. Everything is written below --folder, and stays there; the
last line is JSON.
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import argparse
import itertools
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

ROOT = Path(__file__).parents[2]
BATCH_DOCUMENTS = 128  # as in ingest.pipeline


def command(data: Path, store: Path) -> list[str]:
    flags = ["--store", str(store.resolve()), "--rejects", str(store.with_suffix(".rejects"))]
    return [sys.executable, "-m", "ingest", str(data.resolve()), *flags, "--allow-rejects"]


def ingest(data: Path, store: Path) -> dict[str, Any]:
    """Run to the end; the summary."""
    done = subprocess.run(
        [*command(data, store), "--json"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def content(store: Path) -> Iterator[Any]:
    """All that identifies a store's content, in the order of ids."""
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    return connection.execute(
        "SELECT d.id, d.title, d.metadata, d.content_hash, i.content_hash, p.position, p.text, "
        "v.embedding FROM documents d JOIN ingested i ON i.id = d.id "
        "JOIN passages p ON p.document = d.key JOIN vectors v ON v.passage = p.key "
        "ORDER BY d.id, p.position"
    )


def differences(one: Path, other: Path) -> dict[str, int]:
    """Passages that differ. Vectors may, by rounding: a text shares its batch with others."""
    import numpy as np

    found = {"passages": 0, "differ": 0, "vectors_not_bitwise_equal": 0, "vectors_beyond_0.01": 0}
    for a, b in itertools.zip_longest(content(one), content(other)):
        found["passages"] += 1
        if a is None or b is None or a[:-1] != b[:-1]:
            found["differ"] += 1
        elif a[-1] != b[-1]:
            found["vectors_not_bitwise_equal"] += 1
            cosine = float(np.frombuffer(a[-1], "<f4") @ np.frombuffer(b[-1], "<f4"))
            found["vectors_beyond_0.01"] += cosine < 0.99
    return found


def kills(data: Path, folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Kill `count` runs, spread over the corpus; then compare with an undisturbed one."""
    undisturbed, killed = folder / "undisturbed.db", folder / "killed.db"
    for old in folder.glob("killed.db*"):
        old.unlink()
    started = time.monotonic()
    for old in folder.glob("undisturbed.db*"):
        old.unlink()
    whole = ingest(data, undisturbed)
    seconds = time.monotonic() - started
    chance, deaths, kept = random.Random(seed), 0, []
    for number in range(1, count + 1):
        child = subprocess.Popen(
            command(data, killed), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # By progress, not by time: a busy machine does not shift the kills. Then a random moment
        # within the work on one batch.
        target = whole["read"] * (number - 1 + chance.random()) / (count + 1)
        while child.poll() is None and stored(killed) < target:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, min(2, seconds * BATCH_DOCUMENTS / whole["read"])))
        child.kill()
        deaths += child.wait() < 0
        kept.append(stored(killed))
        print(f"run {number}: exit {child.returncode}, {kept[-1]:,} documents", flush=True)
    last = ingest(data, killed)
    verified = subprocess.run(
        [sys.executable, "-m", "ingest", "--verify", "--store", str(killed.resolve())], cwd=ROOT
    )
    return {
        "undisturbed": whole,
        "kills": deaths,
        "documents_after_each": kept,
        "last_run": last,
        "verify_exit": verified.returncode,
        "compared": differences(undisturbed, killed),
    }


def stored(store: Path) -> int:
    if not store.exists():
        return 0
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5000)
    try:
        return int(connection.execute("SELECT count(*) FROM documents").get)
    except (apsw.SQLError, apsw.BusyError):  # its tables are not there yet
        return 0
    finally:
        connection.close()


def rate(data: Path, folder: Path, documents: int | None) -> dict[str, Any]:
    """One run into a fresh store, and the same again, where nothing is to do."""
    if documents is not None:
        data = repeated(data, folder / f"repeated-{documents}.jsonl", documents)
    store = folder / "rate.db"
    for old in folder.glob("rate.db*"):
        old.unlink()
    first = ingest(data, store)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # KiB on Linux
    again = ingest(data, store)
    return {
        "first": first,
        "documents_a_second": round(first["read"] / first["seconds"], 1),
        "peak_mib": peak // 1024,
        "store_mib": store.stat().st_size >> 20,
        "again": again,
        "again_documents_a_second": round(again["read"] / again["seconds"], 1),
    }


def repeated(data: Path, path: Path, documents: int) -> Path:
    """The corpus over and over, ids suffixed, until there are `documents`.

    Each copy's text begins with its number: the store knows a text that it has embedded before.
    """
    source = data / "corpus.jsonl" if data.is_dir() else data
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for copy in itertools.count():
            with source.open(encoding="utf-8") as lines:
                for line in itertools.islice(lines, documents - written):
                    file.write(renamed(line, copy))
                    written += 1
            if written == documents:
                break
    return path


def renamed(line: str, copy: int) -> str:
    if copy == 0:
        return line if line.endswith("\n") else line + "\n"
    record = json.loads(line)
    key = "_id" if "_id" in record else "id"
    record[key] = f"{record[key]}~{copy}"
    record["text"] = f"{copy}. {record['text']}"
    return json.dumps(record, ensure_ascii=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("kills", "rate"))
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("ingest-benchmark"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--documents", type=int, help="repeat the corpus to so many")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.what == "kills":
        result = kills(args.corpus, args.folder, args.kills, args.seed)
    else:
        result = rate(args.corpus, args.folder, args.documents)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
