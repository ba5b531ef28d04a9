"""What a service meets that anybody can reach: requests by its own description, and broken ones."""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance,unsupported_method,"
    "allow_header_conformance,missing_required_header,ignored_auth"
)
PATHS = ("/search", "/rerank", "/vectors", "/v1/embeddings", "/v2/rerank", "/embed", "/documents")
TAILS = ("", "", "", "?limit=%FF%00", "/%2e%2e/%00", "?q=%ED%A0%80")
KINDS = (
    "application/json", "application/x-ndjson", "multipart/form-data; boundary=x", "text/plain",
    "application/json; charset=utf-16", "application/xml", "", "multipart/form-data", "\x80",
)  # fmt: skip


def fuzz(
    url: str,
    examples: int,
    folder: Path,
    phases: str = "coverage,fuzzing",
    only: Sequence[str] = (),
) -> tuple[int, str]:
    """(how many cases were tried, what schemathesis says), with so many examples an operation.

    `only`: the paths to try, instead of all.
    """
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json",
        "--checks", CHECKS, "--phases", phases, "--max-examples", str(examples),
        "--seed", "1", "--no-shrink", "--continue-on-failure", "--no-color",
        "--request-timeout", "600", "--suppress-health-check", "all",
        "--generation-database", "none", "--warnings", "off",
        *(f"--include-path={path}" for path in only),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    found = re.search(r"([\d,]+) generated", done.stdout)
    said = f"{done.stdout[-6000:]}{done.stderr[-2000:]}" if done.returncode else "no failures"
    return int(found[1].replace(",", "")) if found else 0, said


def requests(count: int, seed: int = 0) -> Iterator[tuple[bytes, bool]]:
    """Requests, each wrong in a way of its own, and whether all of it is there.

    The same ones for the same seed.
    """
    rng = random.Random(seed)
    makers = (
        lambda: bytes(rng.randrange(256) for _ in range(rng.randrange(1, 400))),
        lambda: b"[" * 100_000,
        lambda: b'{"query": ' + b'{"a":' * 100_000,
        lambda: b'{"query": "\\ud800", "texts": ["\\udfff"], "text": "\\ud83d"}',
        lambda: b'{"query": "a\\u0000b", "documents": ["\\u0000"], "limit": 3}',
        lambda: b'{"query": "a", "alpha": NaN, "limit": Infinity}',
        lambda: b'{"query": "a", "limit": ' + b"9" * rng.choice((400, 5000)) + b"}",
        lambda: b'{"query": "a", "query": 1, "queries": null, "query": []}',
        lambda: b'{"query": "\xff\xfe", "documents": ["\xc3\x28"]}',
        lambda: json.dumps({"query": "q" * 300_000, "documents": ["d"]}).encode(),
        lambda: json.dumps({"query": "q", "texts": ["t"] * 5000, "documents": []}).encode(),
        lambda: json.dumps({"input": [["x"]] * 50, "model": {}, "query": {"q": 1}}).encode(),
        lambda: b"",
        lambda: b"null",
        lambda: b"--x\r\nContent-Disposition: form-data; name=f; filename=\x80\r\n\r\n\xff\r\n",
        lambda: (
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="../a\x00.pdf"\r\n'
            b"\r\n%PDF-1.7 broken\r\n--x--\r\n"
        ),
        lambda: b"\x1f\x8b\x08\x00" + bytes(rng.randrange(256) for _ in range(200)),
        lambda: b'{"id": "' + b"i" * 3000 + b'", "text": "words"}',
    )
    framings = (framed, framed, framed, framed, announced, cut_short, chunked, bad_chunks)
    for number in range(count):
        body = makers[number % len(makers)]()
        framing = rng.choice(framings)
        yield framing(rng, body), framing is not cut_short


def head(rng: random.Random, *headers: str) -> bytes:
    method = rng.choice(("POST",) * 9 + ("PUT", "DELETE", "GET"))
    path = rng.choice(PATHS) + rng.choice(TAILS)
    kind = rng.choice(KINDS)
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    lines += [f"Content-Type: {kind}"] if kind else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def framed(rng: random.Random, body: bytes) -> bytes:
    return head(rng, f"Content-Length: {len(body)}") + body


def announced(rng: random.Random, body: bytes) -> bytes:
    """A gigabyte that never comes."""
    return head(rng, "Content-Length: 1000000000") + body[:100]


def cut_short(rng: random.Random, body: bytes) -> bytes:
    return head(rng, f"Content-Length: {len(body) + 10}") + body


def chunked(rng: random.Random, body: bytes) -> bytes:
    size = f"{len(body):x}".encode()
    chunks = size + b"\r\n" + body + b"\r\n0\r\n\r\n" if body else b"0\r\n\r\n"
    return head(rng, "Transfer-Encoding: chunked") + chunks


def bad_chunks(rng: random.Random, body: bytes) -> bytes:
    return head(rng, "Transfer-Encoding: chunked") + b"zz\r\n" + body[:50] + b"\r\n-1\r\n"


def send(port: int, request: bytes, seconds: float) -> int | None:
    """The status of the answer; None where there is none after so many seconds of silence."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        answer = b""
        with suppress(OSError):
            connection.sendall(request)
            while part := connection.recv(65536):
                answer += part
        found = re.match(rb"HTTP/1\.1 (\d+)", answer)
        return int(found[1]) if found else None


def send_all(port: int, count: int) -> Counter[int | None]:
    """How many hostile requests were answered with which status.

    A caller whose request is cut short leaves soon; the service would wait for the rest.
    """
    return Counter(send(port, request, 120 if whole else 0.3) for request, whole in requests(count))


def slow_sender(port: int) -> socket.socket:
    """A connection that has begun to send a body, and goes on with it at some time."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(
        b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 1000\r\n\r\n{"query'
    )
    return connection
