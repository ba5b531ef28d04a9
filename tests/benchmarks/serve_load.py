"""The service under load: throughput, latency, and what it does with ten times what it can take.

    python tests/benchmarks/serve_load.py --seconds 20
    python tests/benchmarks/serve_load.py --url http://127.0.0.1:9000 --rerank-path /rerank

Starts `python -m search.serve` on a store made of data/medical.json, without a score cache unless
`--cache`, and asks it from another process over the loopback. Closed loop: each client asks again
as soon as it is answered. Open loop: requests come at random times at a given rate, whoever waits.
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

from machine import processor

ROOT = Path(__file__).parents[2]
CLIENTS = (1, 4, 16, 64)
PASSAGES = 20


@dataclass
class Load:
    """What one round gave; milliseconds of the requests that were answered with 200."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)

    @property
    def throughput(self) -> float:
        return len(self.milliseconds) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.milliseconds) or [float("nan")]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def row(self, name: str) -> str:
        others = ", ".join(f"{n} x {s}" for s, n in sorted(self.statuses.items()) if s != 200)
        shares = " ".join(f"{self.percentile(share):7.0f}" for share in (0.5, 0.95, 0.99))
        return f"{name:<34} {self.throughput:7.1f} {shares}   {others}"


HEAD = f"{'':<34} {'answers/s':>7} {'p50':>5} {'p95':>7} {'p99':>7}   others (ms)"


class Client:
    """One connection that is kept; only what this needs of HTTP."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        try:
            return await self._post(path, body)
        except (asyncio.IncompleteReadError, ConnectionError):  # closed while nobody used it
            self.close()
            self._streams = None
            return await self._post(path, body)

    async def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        status = int((await reader.readuntil(b"\r\n")).split()[1])
        headers = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(headers.split(b"content-length:")[1].split(b"\r\n")[0])
        return status, await reader.readexactly(length)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


Requests = Iterator[tuple[str, bytes]]


async def ask(client: Client, request: tuple[str, bytes], load: Load) -> None:
    start = time.perf_counter()
    status, _ = await client.post(*request)
    load.statuses[status] += 1
    if status == 200:
        load.milliseconds.append(1000 * (time.perf_counter() - start))


async def closed(url: str, requests: Requests, clients: int, seconds: float) -> Load:
    """`clients` at once, each with one request under way; one that is refused waits a little."""
    load, end = Load(), time.perf_counter() + seconds

    async def run() -> None:
        client = Client(url)
        while time.perf_counter() < end:
            before = load.statuses[429]
            await ask(client, next(requests), load)
            if load.statuses[429] > before:
                await asyncio.sleep(0.2)
        client.close()

    start = time.perf_counter()
    await asyncio.gather(*(run() for _ in range(clients)))
    load.seconds = time.perf_counter() - start
    return load


async def opened(url: str, requests: Requests, rate: float, seconds: float) -> Load:
    """At `rate` in a second, at random times, on as many connections as it takes."""
    load, idle, chance = Load(), list[Client](), random.Random(0)

    async def one() -> None:
        client = idle.pop() if idle else Client(url)
        await ask(client, next(requests), load)
        idle.append(client)

    start = time.perf_counter()
    at, tasks = start, []
    while (at := at + chance.expovariate(rate)) < start + seconds:
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)
    load.seconds = time.perf_counter() - start
    for client in idle:
        client.close()
    return load


def texts() -> list[str]:
    records = json.loads((ROOT / "data/medical.json").read_text(encoding="utf-8"))
    records = records if isinstance(records, list) else records["documents"]
    return [str(record["text"])[:1000] for record in records]


def queries() -> list[str]:
    lines = (ROOT / "data/medical/queries.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def searches(**options: object) -> Requests:
    for query in cycle(queries()):
        yield "/search", json.dumps({"query": query, **options}).encode()


def reranks(path: str, model: str = "m") -> Requests:
    """Each query with other texts, in the words of this service (Cohere's) or another's."""
    all_texts, chance = texts(), random.Random(0)
    for query in cycle(queries()):
        body = {"query": query, "documents": chance.sample(all_texts, PASSAGES), "model": model}
        yield path, json.dumps(body).encode()


def report(url: str, make: Callable[[], Requests], name: str, seconds: float) -> None:
    print(f"\n{name}\n{HEAD}")
    asyncio.run(closed(url, make(), 2, min(5.0, seconds)))
    best = 0.0
    for clients in CLIENTS:
        load = asyncio.run(closed(url, make(), clients, seconds))
        best = max(best, load.throughput)
        print(load.row(f"{clients} clients"), flush=True)
    for times in (1, 10):
        load = asyncio.run(opened(url, make(), times * best, seconds))
        print(load.row(f"{times} x {best:.1f} requests/s come"), flush=True)


def deadlines(url: str, clients: int, milliseconds: float, seconds: float) -> None:
    """How many answers are there in time, and how many of them are reranked as far as that."""
    make = searches(candidates=100, deadline_ms=milliseconds)
    load = asyncio.run(closed(url, make, clients, seconds))
    late = sum(took > 1.1 * milliseconds for took in load.milliseconds)
    name = f"deadline {milliseconds:g} ms, {clients} clients"
    print(load.row(name) + f"   later than the deadline + 10%: {late} of {len(load.milliseconds)}")


@contextmanager
def service(folder: Path, arguments: list[str]) -> Iterator[tuple[str, int]]:
    """Ours, over a store made of data/medical.json: its address and process id."""
    store = folder / "store.db"
    command = [sys.executable, "-m"]
    ingest = [*command, "ingest", str(ROOT / "data/medical.json"), "--set", f"store={store}"]
    subprocess.run(ingest, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "log").open("w")
    serve = [*command, "search.serve", "--port", str(port), "--set", f"store={store}", *arguments]
    process = subprocess.Popen(serve, cwd=ROOT, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the service ended with status {process.returncode}")
        try:
            urllib.request.urlopen(f"{url}/ready", timeout=2).close()
            return
        except OSError:
            time.sleep(0.3)
    raise SystemExit("the service was not ready in time")


def memory(process_id: int) -> float:
    """Megabytes that are its own."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="of each row")
    parser.add_argument("--url", help="of another rerank service, which runs already")
    parser.add_argument("--rerank-path", default="/v2/rerank")
    parser.add_argument("--model", default="m", help="what another service calls its model")
    parser.add_argument("--only", choices=["search", "rerank", "deadline", "memory", "cache"])
    parser.add_argument("--requests", type=int, default=20_000, help="for --only memory")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{processor()}; load average before: {load}")
    if args.url:
        report(args.url, lambda: reranks(args.rerank_path, args.model), "rerank", args.seconds)
        return
    cached = args.only == "cache"
    settings = [*args.set] if cached else ["serve.cache_bytes=0", *args.set]
    arguments = [word for setting in settings for word in ("--set", setting)]
    with (
        tempfile.TemporaryDirectory() as folder,
        service(Path(folder), arguments) as (url, process_id),
    ):
        if args.only in (None, "search"):
            report(url, searches, f"/search, {PASSAGES} candidates", args.seconds)
        if args.only in (None, "rerank"):
            report(url, lambda: reranks(args.rerank_path), "/rerank, 20 passages", args.seconds)
        if args.only in (None, "deadline"):
            print(f"\n/search with a deadline, 100 candidates\n{HEAD}")
            for clients in (1, 8, 16):
                for milliseconds in (250, 500):
                    deadlines(url, clients, milliseconds, args.seconds)
        if cached:
            print(f"\n/search, every query asked before\n{HEAD}")
            for name in ("first", "again", "again"):
                print(asyncio.run(closed(url, searches(), 1, args.seconds)).row(name))
        if args.only == "memory":
            asyncio.run(grow(url, process_id, args.requests))


async def grow(url: str, process_id: int, requests: int) -> None:
    """Many requests of every kind, most of them cheap: does the process grow?"""
    kinds = [searches(rerank=False), searches(candidates=2, highlight=False), reranks("/v2/rerank")]
    print(f"{0:>8} requests {memory(process_id):8.0f} MB")
    clients, done = [Client(url) for _ in range(16)], 0
    while done < requests:
        part = requests // 10
        for _ in range(part // 16 + 1):
            chosen = [kinds[0]] * 14 + [kinds[1], kinds[0]]
            await asyncio.gather(
                *(c.post(*next(kind)) for c, kind in zip(clients, chosen, strict=True))
            )
            done += 16
        print(f"{done:>8} requests {memory(process_id):8.0f} MB", flush=True)
    for client in clients:
        client.close()


if __name__ == "__main__":
    main()
