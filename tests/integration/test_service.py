"""The service as a process of its own: how it starts, answers beside others, and stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_service import Running, running

import config
from search import Searcher
from search.answer import as_json
from search.store.lock import only_writer

ROOT = Path(__file__).parents[2]
MEDICAL = ROOT / "data" / "medical.json"
QUERY = "how to prevent heart disease"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One over data/medical.json."""
    with running(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=120) as client:
        answer = client.post(
            "documents",
            content=MEDICAL.read_bytes(),
            headers={"content-type": "application/json"},
            params={"name": "medical.json"},
        )
        assert json.loads(answer.text.splitlines()[-1])["summary"]["rejected"] == 0
        yield client


def logged(service: Running, request_id: str, count: int) -> list[dict[str, Any]]:
    """The lines of a request's id once there are so many; the last come after the answer."""
    deadline = time.monotonic() + 60
    while True:
        text = (service.folder / "log").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        found = [line for line in lines if line.get("request_id") == request_id]
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def test_it_answers_as_the_library_does(service: Running, client: httpx.Client) -> None:
    found = client.post("search", json={"query": QUERY, "limit": 5}).json()
    with Searcher.open(store=str(service.folder / "store.db"), environment={}) as searcher:
        ours = as_json(searcher.search(QUERY, limit=5))
    assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in ours["hits"]]
    assert [hit["score"] for hit in found["hits"]] == pytest.approx(
        [hit["score"] for hit in ours["hits"]], abs=5e-3
    )
    same = ("title", "passage", "source", "metadata", "location", "also_in")
    assert [[hit[name] for name in same] for hit in found["hits"]] == json.loads(
        json.dumps([[hit[name] for name in same] for hit in ours["hits"]])
    )


def test_its_log_has_a_json_line_for_each_request(service: Running, client: httpx.Client) -> None:
    given = {"x-request-id": "trace-42"}
    assert client.get("search", params={"q": "unheard-of words"}, headers=given).status_code == 200
    (line,) = logged(service, "trace-42", 1)
    assert (line["message"], line["route"], line["status"]) == ("answered", "/search", 200)
    assert "unheard-of" not in (service.folder / "log").read_text(encoding="utf-8")


def test_documents_of_another_process_are_found(
    service: Running, client: httpx.Client, tmp_path: Path
) -> None:
    """And while that writes, a search is answered and an upload has to wait."""
    file = tmp_path / "new.jsonl"
    file.write_text('{"id": "gnu", "text": "The gnu is a large African antelope."}\n')
    store = ["--store", str(service.folder / "store.db"), "--rejects", str(tmp_path / "r.jsonl")]
    command = [sys.executable, "-m", "ingest", str(file), *store]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = client.get("search", params={"q": "African antelope", "limit": 1}).json()
    assert [hit["id"] for hit in found["hits"]] == ["gnu"]
    with only_writer(config.load({"store": str(service.folder / "store.db")}, {}, [])):
        refused = client.post("documents", json={"text": "words"})
        assert (refused.status_code, "another process" in refused.json()["error"]) == (503, True)
        assert client.get("search", params={"q": "antelope"}).status_code == 200


def test_a_second_service_on_the_same_store(service: Running, client: httpx.Client) -> None:
    with (
        running(service.folder) as second,
        httpx.Client(base_url=second.url, timeout=60) as other,
    ):
        last = other.post("documents", json={"id": "emu", "text": "The emu is a large bird."})
        assert json.loads(last.text.splitlines()[-1])["summary"]["stored"] == 1
        assert client.get("documents/emu").status_code == 200
        assert client.delete("documents/emu").status_code == 200
        assert other.get("documents/emu").status_code == 404


def test_a_strangers_page_gets_nothing(client: httpx.Client) -> None:
    cross = {"origin": "http://evil.example", "content-type": "text/plain"}
    assert client.post("documents", content=b"{}", headers=cross).status_code == 403
    assert client.get("documents", headers={"host": "evil.example"}).status_code == 421


def test_who_leaves_stops_waiting_in_the_queue(service: Running, client: httpx.Client) -> None:
    """A request of many long texts is given up with its caller; the next is answered at once."""
    texts = [f"{number} " + "heart disease " * 300 for number in range(500)]
    body = json.dumps({"query": QUERY, "documents": texts}).encode()
    head = (
        f"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "X-Request-Id: leaver\r\n\r\n"
    ).encode()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(head + body)
            time.sleep(0.5)
    assert [line["message"] for line in logged(service, "leaver", 3)] == ["left"] * 3
    assert client.get("search", params={"q": QUERY}).status_code == 200


def test_an_address_for_others_needs_keys() -> None:
    command = [sys.executable, "-m", "search.serve", "--host", "0.0.0.0", "--port", "0"]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "there are no keys" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("sign", ["pydantic_core", "libopenvino.so", "libopenvino_intel_cpu"])
@pytest.mark.parametrize("seconds", [0, 0.1])
def test_it_can_be_stopped_while_it_starts(
    tmp_path: Path, number: signal.Signals, sign: str, seconds: float
) -> None:
    """Sent so long after a library is in the process: FastAPI's, the engine's, the model's."""
    command = [sys.executable, "-m", "search.serve", "--port", "0"]
    command += ["--set", f"store={tmp_path / 'store.db'}"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while sign not in Path(f"/proc/{process.pid}/maps").read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert said.splitlines()[-1] == "search.serve: stopped"
    assert "Traceback" not in said
    assert process.returncode == 0


def test_sigterm_finishes_what_runs_and_stops_in_time(tmp_path: Path) -> None:
    """Searches that are under way get their answers; a long upload is cut off, and says so."""
    with running(tmp_path) as service:
        process = service._process
        assert process is not None
        records = [
            {"id": str(i), "text": f"Record {i} " + "of many words " * 60} for i in range(3000)
        ]
        answers: list[int] = []
        last: list[dict[str, Any]] = []

        def search() -> None:
            with httpx.Client(base_url=service.url, timeout=60) as client:
                answers.append(client.get("search", params={"q": QUERY}).status_code)

        def upload() -> None:
            with httpx.Client(base_url=service.url, timeout=60) as client:
                sent = client.post("documents", json=records)
                last.append(json.loads(sent.text.splitlines()[-1]))

        uploading = threading.Thread(target=upload)
        uploading.start()
        time.sleep(2)
        searching = [threading.Thread(target=search) for _ in range(4)]
        for thread in searching:
            thread.start()
        time.sleep(1.5)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        status = process.wait(15)
        took = time.monotonic() - started
        for thread in [*searching, uploading]:
            thread.join()
        log = (tmp_path / "log").read_text(encoding="utf-8")
        assert took < 10.5, log[-2000:]
        assert status == 0
        assert answers == [200] * 4, log[-2000:]
        (summary,) = (line["summary"] for line in last)
        assert "send it again" in summary["problem"]
        service.start()
        assert service.ask("status")[0]["store"]["documents"] == summary["stored"]
        again = service.ask("documents", records[: summary["stored"]])
        assert again[-1]["summary"]["unchanged"] == summary["stored"]
