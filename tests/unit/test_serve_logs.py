"""Log lines for people and for programs, the request's id, and callers who leave or dawdle."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serve_fakes import make_service
from starlette.exceptions import HTTPException

from search.serve import limits
from search.serve.app import build_app
from search.serve.caller import Caller, current_caller
from search.serve.limits import Body
from search.serve.logs import Json, Readable
from search.serve.queue import FairQueue


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("search.x", logging.WARNING, "", 0, message, (), None)
    made.fields = fields
    return made


def test_a_line_for_programs() -> None:
    token = current_caller.set(Caller("abc"))
    try:
        line = json.loads(Json().format(record("two\nlines", status=200)))
    finally:
        current_caller.reset(token)
    assert line.pop("time")
    assert line == {
        "level": "warning",
        "logger": "search.x",
        "message": "two\nlines",
        "request_id": "abc",
        "status": 200,
    }


def test_a_line_for_people_cannot_steer_the_terminal() -> None:
    text = Readable().format(record("found \x1b[2J", route="/search"))
    assert "warning" in text
    assert "route=/search" in text
    assert "\x1b" not in text


def test_every_request_has_a_line_and_no_words_of_the_query(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with TestClient(build_app(make_service())) as client:
        client.get("/search", params={"q": "private words"})
        client.post("/search", json={"query": "private words", "where": ["private=words"]})
        client.get("/documents/private")
    # The client has a log of its own.
    ours = [vars(entry) for entry in caplog.records if entry.name.startswith("search")]
    lines = [entry["fields"] for entry in ours]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("GET", "/search", 200),
        ("POST", "/search", 200),
        ("GET", "/documents/{document_id:id}", 404),
    ]
    assert "private" not in str(ours)


def test_a_probe_has_a_line_where_it_finds_something_wrong(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    with TestClient(build_app(make_service())) as client:
        for path in ("/live", "/ready", "/health", "/.well-known/ready", "/meta", "/metrics"):
            assert client.get(path).is_success
        assert [entry for entry in caplog.records if entry.name.startswith("search")] == []
        monkeypatch.setattr(FairQueue, "fault", lambda self: "it has been at one batch for 61 s")
        assert client.get("/ready").status_code == 503
    assert [vars(e)["fields"]["route"] for e in caplog.records if e.name.startswith("search")] == [
        "/ready"
    ]


def test_the_log_tells_who_left_from_who_was_answered(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = build_app(make_service())

    async def ask(leaves: bool) -> None:
        scope = {
            "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "headers": [],
            "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
            "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
        }  # fmt: skip

        async def send(message: Any) -> None:
            await asyncio.sleep(0.01)

        await app(scope, messages(*[{"type": "http.disconnect"}] * leaves), send)

    asyncio.run(ask(leaves=False))
    asyncio.run(ask(leaves=True))
    assert [entry.getMessage() for entry in caplog.records] == ["answered", "left"]


def test_who_leaves_in_the_middle_of_an_upload_is_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    app = build_app(make_service())
    scope = {
        "type": "http", "method": "POST", "path": "/documents", "raw_path": b"/documents",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"100")],
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
    }  # fmt: skip

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there")

    asyncio.run(app(scope, messages(part(b"[{"), {"type": "http.disconnect"}), send))
    (entry,) = caplog.records
    assert (entry.getMessage(), vars(entry)["fields"]["status"]) == ("left", 499)


def test_queries_are_logged_where_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with TestClient(build_app(make_service(**{"serve.log_queries": True}))) as client:
        client.get("/search", params={"q": "public words"})
    ours = [vars(entry) for entry in caplog.records if entry.name.startswith("search")]
    assert ours[-1]["fields"]["query"] == "public words"


@pytest.mark.parametrize(
    ("given", "kept"), [("trace-1:2/3", True), ("a b", False), ("x" * 129, False), ("", False)]
)
def test_the_callers_id_is_kept_if_it_is_sane(given: str, kept: bool) -> None:
    with TestClient(build_app(make_service())) as client:
        for path in ("/live", "/nowhere"):
            found = client.get(path, headers={"x-request-id": given}).headers["x-request-id"]
            assert (found == given) is kept
            assert found


def messages(*parts: Any) -> Any:
    """A `receive` that gives these messages, then waits for ever."""
    waiting = list(parts)

    async def receive() -> Any:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def everything(body: Body) -> bytes:
    read = b""
    while True:
        message = await body.receive()
        read += message.get("body", b"")
        if not message.get("more_body"):
            return read


def test_a_caller_who_leaves_is_noticed() -> None:
    async def run() -> None:
        for headers, before in (({}, []), ({"content-length": "2"}, [part(b"ab", False)])):
            caller = Caller("1")
            gone = {"type": "http.disconnect"}
            body = Body(messages(*before, gone), caller, headers, 10)
            await everything(body)
            await asyncio.sleep(0.01)
            assert caller.left.is_set()
            assert await body.receive() == gone
            body.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("headers", "parts", "status"),
    [
        ({"content-length": "1000000000"}, [], 413),
        ({"content-length": "9" * 5000}, [], 413),
        ({"transfer-encoding": "chunked"}, [part(b"12345"), part(b"678901")], 413),
        ({"content-length": "5"}, [part(b"12")], 408),
    ],
)
def test_a_body_is_refused_as_soon_as_it_can_be(
    headers: dict[str, str],
    parts: list[Any],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SILENT_SECONDS", 0.05)

    async def run() -> None:
        body = Body(messages(*parts), Caller("1"), headers, 10)
        with pytest.raises(HTTPException) as refused:
            await everything(body)
        assert refused.value.status_code == status
        body.close()

    asyncio.run(run())


def test_logs_go_where_they_are_sent() -> None:
    from search.serve.logs import prepare_logs

    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        prepare_logs(stream)
        logging.getLogger("search.serve").info("hello")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert json.loads(stream.getvalue())["message"] == "hello"
