"""`python -m search.serve` as a process of its own, for tests of what people meet."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Running:
    """`python -m search.serve` over a store of its own; it can be stopped and started again."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.environment = folder, os.environ | environment
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.flags: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "search.serve", "--port", str(self.port)]
        command += ["--set", f"store={self.folder / 'store.db'}"]
        command += self.flags
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            try:
                urllib.request.urlopen(self.url + "live", timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError("the service was not ready in time")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            content = response.read().decode()
        return [json.loads(line) for line in content.splitlines()]

    def search(self, query: str, **options: Any) -> Any:
        return self.ask("search", {"query": query} | options)[0]


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Running]:
    service = Running(folder, **environment)
    try:
        service.start()
        yield service
    finally:
        service.stop()


@contextmanager
def running_with_samples(folder: Path) -> Iterator[Running]:
    """With the sample documents that are about the heart, and those that are not English."""
    documents = json.loads((ROOT / "data" / "medical.json").read_text(encoding="utf-8"))
    some = [d for d in documents if "heart" in d["id"] or d["language"] != "en"]
    assert len(some) > 40
    with running(folder) as service:
        *_, last = service.ask("documents", some)
        assert last["summary"]["stored"] == len(some)
        yield service
