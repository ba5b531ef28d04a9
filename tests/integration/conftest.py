"""One Weaviate for the whole run, found as tests/integration/weaviate_server.py says."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from weaviate_nodes import Killable, Server
from weaviate_server import Maker, Missing, any_server, find_binary, killable

if TYPE_CHECKING:
    from browser import Browser

USED: list[str] = []


@pytest.fixture(scope="session")
def weaviate_or_reason(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | str]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(any_server(tmp_path_factory.mktemp("weaviate")))
        except Missing as reason:
            yield str(reason)
            return
        with urllib.request.urlopen(f"{server.url}/v1/meta") as answer:
            version = json.load(answer)["version"]
        USED.append(f"Weaviate {version} at {server.url} ({server.kind})")
        yield server


@pytest.fixture(scope="session")
def weaviate_server(weaviate_or_reason: Server | str) -> Server:
    """A server that answers; the test is skipped, saying why and what to do, when there is none."""
    if isinstance(weaviate_or_reason, str):
        pytest.skip(weaviate_or_reason)
    return weaviate_or_reason


@pytest.fixture
def make_weaviate(tmp_path: Path) -> Iterator[Maker]:
    """Servers of the test's own, to be killed and started again; binaries or containers."""
    with ExitStack() as stack:
        try:
            maker = stack.enter_context(killable(tmp_path))
        except Missing as reason:
            pytest.skip(f"this test kills servers: {reason}")
        yield maker


@pytest.fixture
def own_weaviate(make_weaviate: Maker) -> Killable:
    """One such server, started."""
    server = make_weaviate()
    server.start()
    server.wait()
    return server


@pytest.fixture(scope="session")
def weaviate_binary() -> str:
    """For tests that need the server as a process of this machine."""
    path = find_binary()
    if path is None:
        pytest.skip("this test runs the server as a process: set WEAVIATE_BINARY to a binary of it")
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


@pytest.fixture(scope="session")
def window() -> Iterator[Browser]:
    """A browser; the test is skipped, saying what to do, where there is none."""
    from browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    """The browser, in which the page must not do what its own policy forbids, nor throw."""
    yield window
    assert window.complaints() == []
    window.run("localStorage.clear(); sessionStorage.clear()")


def drop(server: Server, name: str) -> None:
    request = urllib.request.Request(f"{server.url}/v1/schema/{name}", method="DELETE")
    urllib.request.urlopen(request).close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in USED:
        terminalreporter.write_line(f"integration tests ran against {line}")
