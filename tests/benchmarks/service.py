"""The service under hostile requests, and its memory over many ordinary ones.

python tests/benchmarks/service.py fuzz [EXAMPLES]     schemathesis; 420 give 10,000 cases
python tests/benchmarks/service.py hostile [REQUESTS]  broken requests (1,000)
python tests/benchmarks/service.py memory [REQUESTS]   ordinary ones, eight at a time
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from machine import processor

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from hostile import fuzz, send_all
from running_service import Running, running

ROOT = Path(__file__).parents[2]
AT_ONCE = 8
WORDS = ("heart", "disease", "prevent", "salt", "walk", "diet", "knee", "eye", "stroke", "sleep")


def main(what: str, count: int | None) -> None:
    records = json.loads((ROOT / "data" / "medical.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as service:
        httpx.post(f"{service.url}documents", json=records, timeout=600).raise_for_status()
        print(f"{processor()}; {len(records)} documents")
        {"fuzz": fuzzed, "hostile": broken, "memory": memory}[what](service, count)
        log = Path(folder, "log").read_text(encoding="utf-8")
        faults = len(re.findall('"status": 5', log))
        print(f"answers with 5xx: {faults}")


def fuzzed(service: Running, examples: int | None) -> None:
    started = time.monotonic()
    cases, said = fuzz(service.url.rstrip("/"), examples or 420, service.folder)
    print(f"{cases:,} cases in {time.monotonic() - started:.0f} s: {said}")


def broken(service: Running, count: int | None) -> None:
    statuses = send_all(service.port, count or 1000)
    print(", ".join(f"{status}: {number}" for status, number in statuses.most_common()))
    print("afterwards:", service.search("how to prevent heart disease")["hits"][0]["id"])


def memory(service: Running, count: int | None) -> None:
    count = count or 100_000
    print("requests  resident MiB  requests/s")
    with httpx.Client(base_url=service.url, timeout=120) as client:

        def ask(number: int) -> int:
            query = (
                " ".join(WORDS[(number * step) % len(WORDS)] for step in (1, 3, 5)) + f" {number}"
            )
            if number % 10 == 0:
                return client.get("status").status_code
            if number % 10 == 1:
                texts = [query, f"{query} again"]
                return client.post("rerank", json={"query": query, "texts": texts}).status_code
            return client.get("search", params={"q": query, "candidates": 5}).status_code

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for start in range(0, count, max(1, count // 20)):
                begun = time.monotonic()
                part = range(start, min(count, start + max(1, count // 20)))
                statuses = set(pool.map(ask, part))
                rate = len(part) / (time.monotonic() - begun)
                print(
                    f"{part.stop:>8,}  {resident(service):>12.0f}  {rate:>10.0f}  {statuses}",
                    flush=True,
                )


def resident(service: Running) -> float:
    """MiB of memory, as the service itself says."""
    with httpx.Client(base_url=service.url) as client:
        text = client.get("metrics").text
    found = re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)
    return float(found[1]) / (1 << 20) if found else 0.0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
