"""One Weaviate for the whole run, found as tests/integration/weaviate_server.py says."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from weaviate_server import HOW_TO, Server, any_server, find_binary

USED: list[str] = []


@pytest.fixture(scope="session")
def weaviate_or_none(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | None]:
    with any_server(tmp_path_factory.mktemp("weaviate")) as server:
        if server is not None:
            with urllib.request.urlopen(f"{server.url}/v1/meta") as answer:
                version = json.load(answer)["version"]
            USED.append(f"Weaviate {version} at {server.url} ({server.kind})")
        yield server


@pytest.fixture(scope="session")
def weaviate_server(weaviate_or_none: Server | None) -> Server:
    """A server that answers; the test is skipped, saying how to get one, when there is none."""
    if weaviate_or_none is None:
        pytest.skip(HOW_TO)
    return weaviate_or_none


@pytest.fixture(scope="session")
def weaviate_binary() -> str:
    """For tests that have to kill and restart servers of their own."""
    path = find_binary()
    if path is None:
        pytest.skip("this test kills servers: set WEAVIATE_BINARY to a weaviate binary")
    return path


@pytest.fixture
def collection(weaviate_server: Server) -> Iterator[str]:
    """The name of a class for one test, deleted after it."""
    name = f"Test{uuid4().hex[:12]}"
    yield name
    drop(weaviate_server, name)


@pytest.fixture(scope="session")
def drop_collection(weaviate_server: Server) -> Callable[[str], None]:
    return lambda name: drop(weaviate_server, name)


def drop(server: Server, name: str) -> None:
    request = urllib.request.Request(f"{server.url}/v1/schema/{name}", method="DELETE")
    urllib.request.urlopen(request).close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in USED:
        terminalreporter.write_line(f"integration tests ran against {line}")
