"""The service under hostile requests, and its memory over many ordinary ones.

python tests/benchmarks/service.py fuzz [EXAMPLES]     schemathesis; 600 give 10,000 cases
python tests/benchmarks/service.py hostile [REQUESTS]  broken requests (1,000)
python tests/benchmarks/service.py memory [REQUESTS]   ordinary ones, four at a time
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from machine import processor

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from hostile import fuzz, send_all
from running_service import Running, running

ROOT = Path(__file__).parents[2]
FUZZED = 3
"""Documents. A request may ask for 4,000 candidates of each of 20 queries, all to be reranked:
with all 270 documents some of them took minutes, and the faults looked for are not in the model."""
AT_ONCE = 4  # so many are never refused
WORDS = ("heart", "disease", "prevent", "salt", "walk", "diet", "knee", "eye", "stroke", "sleep")
CUT = 80
"""Characters of a document where memory is measured: most of the time would be the reranker's."""


def main(what: str, count: int | None) -> None:
    records = json.loads((ROOT / "data" / "medical.json").read_text(encoding="utf-8"))
    if what == "fuzz":
        records = records[:FUZZED]
    if what == "memory":
        records = [record | {"text": record["text"][:CUT]} for record in records]
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as service:
        httpx.post(f"{service.url}documents", json=records, timeout=600).raise_for_status()
        print(f"{processor()}; {len(records)} documents")
        {"fuzz": fuzzed, "hostile": broken, "memory": memory}[what](service, count)
        log = Path(folder, "log").read_text(encoding="utf-8")
        faults = len(re.findall('"status": 5', log))
        print(f"answers with 5xx: {faults}")


def fuzzed(service: Running, examples: int | None) -> None:
    """A run of the tool for each path: what one found is shown while the others are to come."""
    total = 0
    url = service.url.rstrip("/")
    for path in httpx.get(f"{url}/openapi.json").json()["paths"]:
        started = time.monotonic()
        cases, said = fuzz(url, examples or 600, service.folder, only=[path])
        total += cases
        print(f"{path}: {cases:,} cases in {time.monotonic() - started:.0f} s: {said}", flush=True)
    print(f"{total:,} cases")


def broken(service: Running, count: int | None) -> None:
    statuses = send_all(service.port, count or 1000)
    print(", ".join(f"{status}: {number}" for status, number in statuses.most_common()))
    print("afterwards:", service.search("how to prevent heart disease")["hits"][0]["id"])


def memory(service: Running, count: int | None) -> None:
    count = count or 100_000
    step = max(1, count // 20)
    print("requests  resident MiB  requests/s  answers")
    with (
        httpx.Client(base_url=service.url, timeout=600) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        for start in range(0, count, step):
            begun = time.monotonic()
            part = range(start, min(count, start + step))
            statuses = Counter(pool.map(lambda number: ask(client, number), part))
            rate = len(part) / (time.monotonic() - begun)
            print(
                f"{part.stop:>8,}  {resident(service):>12.0f}  {rate:>10.0f}  {dict(statuses)}",
                flush=True,
            )


def ask(client: httpx.Client, number: int) -> int:
    """One of an ordinary mix: of ten, five new searches and two that were asked before.

    No two new ones are alike, and yet all are made of the same few words: the store keeps each word
    that was asked for, which is meant, and not what is looked for here.
    """
    match number % 10:
        case 0:
            answer = client.get("status")
        case 1:
            texts = [query(number), query(number + 1)]
            answer = client.post("rerank", json={"query": query(number), "texts": texts})
        case 2:
            answer = client.post("embed", json={"inputs": query(number)})
        case 3 | 4:
            answer = search(client, max(0, number - number % 10 - 5))
        case _:
            answer = search(client, number)
    return answer.status_code


def search(client: httpx.Client, number: int) -> httpx.Response:
    return client.get("search", params={"q": query(number), "candidates": 2})


def query(number: int) -> str:
    return " ".join(WORDS[int(digit)] for digit in str(number))


def resident(service: Running) -> float:
    """MiB of memory, as the service itself says."""
    with httpx.Client(base_url=service.url) as client:
        text = client.get("metrics").text
    found = re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)
    return float(found[1]) / (1 << 20) if found else 0.0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
