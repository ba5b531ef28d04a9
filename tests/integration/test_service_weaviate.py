"""The service over a Weaviate that comes, goes and comes back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from running_service import ROOT, Running
from weaviate_nodes import Killable

RECORDS = [
    {"id": "walk", "text": "Walk every day to prevent heart disease.", "year": 2020},
    {"id": "eye", "text": "Cataracts cloud the lens of the eye.", "tags": ["eye"]},
]


@contextmanager
def stopped_at_the_end(service: Running) -> Iterator[None]:
    try:
        yield
    finally:
        service.stop()


def parts(service: Running) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(f"{service.url}ready", timeout=60)
    return answer.status_code, answer.json()


def wait_until_ready(service: Running) -> None:
    deadline = time.monotonic() + 60
    while parts(service)[0] != 200:
        assert time.monotonic() < deadline, parts(service)
        time.sleep(0.5)


def test_it_starts_without_weaviate_and_says_when_that_is_away(
    own_weaviate: Killable, tmp_path: Path
) -> None:
    server = own_weaviate.server
    wanted = server.flags
    own_weaviate.stop()
    service = Running(
        tmp_path, **{f"SEARCH_{k.upper().replace('.', '__')}": str(v) for k, v in wanted.items()}
    )
    # As the compose file has it: the server's modules call the same process, at another port.
    service.flags = ["--weaviate", f"{server.service_host}:{server.service_port}"]
    with stopped_at_the_end(service):
        service.start()
        status, found = parts(service)
        assert (status, found["store"]["ok"], found["encoder"]["ok"]) == (503, False, True)
        assert found["store"]["reason"]
        for path in ("search?q=heart", "documents", "status"):
            answer = httpx.get(f"{service.url}{path}", timeout=60)
            assert (answer.status_code, bool(answer.json()["error"])) == (503, True)
        assert httpx.get(f"{service.url}live").status_code == 200

        own_weaviate.start()
        own_weaviate.wait()
        wait_until_ready(service)
        assert service.search("heart")["hits"] == []
        assert service.ask("documents", RECORDS)[-1]["summary"]["stored"] == 2
        assert service.search("how to prevent heart disease")["hits"][0]["id"] == "walk"

        file = tmp_path / "new.jsonl"
        file.write_text('{"id": "gnu", "text": "The gnu is an antelope.", "legs": 4}\n')
        flagged = [f"--set={name}={value}" for name, value in wanted.items()]
        command = [sys.executable, "-m", "ingest", str(file), "--rejects", str(tmp_path / "r")]
        subprocess.run([*command, *flagged], cwd=ROOT, check=True, capture_output=True)
        (hit,) = service.search("antelope", where=["legs=4"])["hits"]
        assert (hit["id"], hit["metadata"]) == ("gnu", {"legs": 4})
        page = service.ask("documents?limit=2")[0]
        rest = service.ask(f"documents?limit=2&after={page['next']}")[0]
        listed = [one["id"] for one in (*page["documents"], *rest["documents"])]
        assert sorted(listed) == ["eye", "gnu", "walk"]
        assert service.ask("documents/gnu", method="DELETE") == [{"deleted": "gnu"}]

        own_weaviate.kill()
        assert parts(service)[0] == 503
        answer = httpx.get(f"{service.url}search?q=heart", timeout=120)
        assert answer.status_code == 503
        own_weaviate.start()
        own_weaviate.wait()
        wait_until_ready(service)
        assert service.search("how to prevent heart disease")["hits"][0]["id"] == "walk"
