"""The server in a process of its own, and the SDK's own client: by standard input and over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ingest.__main__ import main as ingest

pytest.importorskip("mcp", reason="pip install -e '.[mcp]'")

import httpx2
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

ROOT = Path(__file__).parents[2]
QUERY = "how to prevent heart disease"
WRITER, READER = "0123456789abcdef01", "fedcba9876543210fe"
KEYS = f"{{team: write {WRITER}, page: read {READER}}}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "notes.db"
    assert ingest([str(ROOT / "data" / "medical.json"), "--store", str(path), "--quiet"]) == 0
    return path


@contextlib.asynccontextmanager
async def by_stdio(log: Path, *arguments: object, mode: str = "auto") -> AsyncIterator[Client]:
    """A client of a server that it starts; what the server says besides goes to `log`.

    `mode` "legacy" begins with the handshake of the protocol before 2026.
    """
    given = ["-m", "search.mcp", *map(str, arguments)]
    parameters = StdioServerParameters(command=sys.executable, args=given, cwd=ROOT)
    with log.open("w") as errors:
        async with Client(stdio_client(parameters, errlog=errors), mode=mode) as client:
            yield client


@contextlib.contextmanager
def http_server(
    *arguments: object, stop: signal.Signals = signal.SIGINT, **environment: str
) -> Iterator[str]:
    """The address of a server over HTTP, which is asked to stop, and has to stop well."""
    command = [sys.executable, "-m", "search.mcp", "--http", "--port", "0", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.send_signal(stop)
        assert process.wait(60) == 0


@contextlib.asynccontextmanager
async def over_http(url: str, key: str = "", mode: str = "auto") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


def content(result: CallToolResult) -> Mapping[str, Any]:
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


def ids(hits: list[dict[str, Any]]) -> list[str]:
    return [hit["id"] for hit in hits]


async def check_reading(client: Client) -> None:
    """Search, then read what was found."""
    found = content(await client.call_tool("search", {"query": QUERY, "limit": 3}))
    assert found["reranked"] is True
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    best = found["hits"][0]
    document = content(await client.call_tool("get_document", {"id": best["id"]}))
    assert best["passage"] in document["text"]
    refused = await client.call_tool("search", {"query": QUERY, "filters": ["year>"]})
    assert refused.is_error
    assert "has no value" in refused.content[0].text  # type: ignore[union-attr]


async def test_by_standard_input(store: Path, tmp_path: Path) -> None:
    async with by_stdio(tmp_path / "log", "--store", store, mode="legacy") as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {
            "search",
            "get_document",
        }
        await check_reading(client)
    assert (tmp_path / "log").read_text() == ""


async def test_what_is_added_is_found_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "notes.db"
    path.parent.mkdir()
    given: dict[str, Any] = {
        "id": "walk",
        "title": "Walking",
        "text": "Half an hour a day keeps the heart well.",
        "metadata": {"year": 2020},
    }
    async with by_stdio(tmp_path / "log", "--store", path, "--allow-writes") as client:
        nothing = content(await client.call_tool("search", {"query": QUERY}))
        assert nothing["hits"] == []
        added = content(await client.call_tool("add_documents", {"documents": [given]}))
        assert added == {"stored": 1, "unchanged": 0, "ids": ["walk"], "rejected": []}
        found = content(await client.call_tool("search", {"query": QUERY}))
        assert ids(found["hits"]) == ["walk"]
        assert found["hits"][0]["metadata"] == {"year": 2020}
        (search, *_) = (await client.list_tools()).tools
        assert "the fields that a hit's `metadata` shows" in (search.description or "")
        wrong = {"query": QUERY, "filters": ["date=2020"]}
        assert "The fields are: year" in content(await client.call_tool("search", wrong))["hint"]
    async with by_stdio(tmp_path / "log", "--store", path) as client:
        found = content(await client.call_tool("search", {"query": QUERY}))
        assert ids(found["hits"]) == ["walk"]


async def test_over_http(store: Path) -> None:
    with http_server("--store", store) as url:
        async with over_http(url, mode="legacy") as client:
            await check_reading(client)
        async with over_http(url) as client:
            await check_reading(client)
            calls = [client.call_tool("search", {"query": QUERY}) for _ in range(6)]
            answers = [content(answer)["hits"] for answer in await asyncio.gather(*calls)]
            assert answers[0]
            assert all(ids(answer) == ids(answers[0]) for answer in answers)
        async with httpx2.AsyncClient() as http:
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            for headers, status in (
                ({"Host": "evil.example"}, 421),
                ({"Origin": "http://evil.example"}, 403),
            ):
                assert (await http.post(url, headers=headers, json=body)).status_code == status


@pytest.mark.parametrize(
    ("host", "printed"), [("localhost", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("::1", "[::1]")]
)
async def test_every_address_of_this_machine_alone_is_served_under_its_name(
    store: Path, host: str, printed: str
) -> None:
    if host == "::1" and not has_ipv6_loopback():
        pytest.skip("this machine has no ::1")
    with http_server("--store", store, "--host", host, stop=signal.SIGTERM) as url:
        assert url.startswith(f"http://{printed}:")
        async with over_http(url) as client:
            assert (await client.list_tools()).tools
        async with httpx2.AsyncClient() as http:
            for evil in ("evil.example", f"{printed}.evil.example"):
                refused = await http.post(url, headers={"Host": evil}, json={})
                assert refused.status_code == 421


def has_ipv6_loopback() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


async def test_over_http_a_key_says_who_may_write(tmp_path: Path) -> None:
    arguments = ("--store", tmp_path / "notes.db", "--allow-writes", "--host", "0.0.0.0")
    given = {"documents": [{"text": "Half an hour a day keeps the heart well."}]}
    with http_server(*arguments, SEARCH_SERVE__KEYS=KEYS) as url:
        url = url.replace("0.0.0.0", "127.0.0.1")
        async with over_http(url, READER) as client:
            refused = await client.call_tool("add_documents", given)
            assert refused.is_error
        async with over_http(url, WRITER) as client:
            assert content(await client.call_tool("add_documents", given))["stored"] == 1
        async with httpx2.AsyncClient() as http:
            assert (await http.post(url, json={})).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--store", "nowhere.db"], 1, "there is no store at nowhere.db"),
        (["--http", "--port", "0", "--host", "0.0.0.0"], 2, "there are no keys"),
        (["--http", "--host", "no.such.invalid"], 2, "cannot listen on no.such.invalid:8091"),
        (["--set", "stroe=x"], 2, "'stroe'"),
    ],
)
def test_a_server_that_cannot_start_says_why_and_leaves_standard_output_alone(
    arguments: list[str], status: int, said: str
) -> None:
    command = [sys.executable, "-m", "two_stage", "mcp", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, input="")
    assert (ended.returncode, ended.stdout) == (status, "")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_its_client_and_at_a_signal(store: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "search.mcp", "--store", str(store)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, input=b"", timeout=60)
    assert (ended.returncode, ended.stdout) == (0, b"")
    request = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}\n'
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request)
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"{")
        process.send_signal(number)
        assert process.wait(10) == 0  # though standard input is still open
