"""A service that answers the page as a test says, and notes what it was asked."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from search.serve import page

STATUS: dict[str, Any] = {
    "store": {"kind": "sqlite", "location": "store.db", "documents": 2, "passages": 2},
    "embedding": {"name": "small"},
    "reranker": {"name": "bundled"},
    "fields": {},
    "defaults": {
        "limit": 10,
        "candidates": 20,
        "retrieval": "hybrid",
        "alpha": 0.5,
        "blend": None,
        "gate": None,
        "threshold": 0.0,
        "highlight": True,
    },
    "may_write": True,
    "version": "0",
}

Reply = Callable[[dict[str, Any]], Response]


def hit(
    rank: int, was: int, title: str, passage: str = "Some text.", **more: Any
) -> dict[str, Any]:
    return {
        "rank": rank,
        "id": title,
        "title": title,
        "passage": passage,
        "highlight": None,
        "source": {"file": "/home/me/notes/heart.md", "line": 3},
        "location": None,
        "score": 0.9,
        "probability": 0.9,
        "logit": 2.0,
        "retrieval": {"rank": was, "score": 0.5},
        "metadata": {},
        "also_in": [],
        "passages": [],
    } | more


def answer(*hits: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "query": "q",
        "reranked": True,
        "scored": len(hits),
        "reason": None,
        "hint": None,
        "notes": [],
        "hits": list(hits),
        "timings_ms": {"retrieve": 4.2, "rerank": 31.0, "total": 35.2},
        "model": {"name": "bundled", "device": "cpu", "precision": "fp32", "engine": "openvino"},
        "request_id": "1",
    } | more


class Scripted:
    """A service that gives the replies it was given, each path's in turn; the last one stays."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.replies: dict[str, list[Reply | Any]] = {"/status": [STATUS]}
        self.addresses: list[tuple[str, str]] = []
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []

    def says(self, path: str, *replies: Reply | Any) -> None:
        self.replies[path] = list(replies)

    async def reply(self, request: Request) -> Response:
        content = await request.body()
        body = json.loads(content) if request.url.path == "/search" else {}
        self.addresses.append((request.url.path, request.url.query))
        self.asked.append((request.url.path, body, dict(request.headers)))
        replies = self.replies.get(request.url.path, [{}])
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if not callable(reply):
            return JSONResponse(reply)
        return await asyncio.to_thread(reply, body)

    def bodies(self, path: str = "/search") -> list[dict[str, Any]]:
        return [body for asked, body, _ in self.asked if asked == path]


@contextmanager
def serving(app: FastAPI, listener: socket.socket) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def refusal(status: int, message: str, **headers: str) -> Reply:
    body = {"error": message, "request_id": "1"}
    return lambda _: JSONResponse(body, status_code=status, headers=headers)


def lines(*records: dict[str, Any]) -> Reply:
    text = "".join(json.dumps(record) + "\n" for record in records)
    return lambda _: Response(text, media_type="application/x-ndjson")


@contextmanager
def scripted_page() -> Iterator[Scripted]:
    """The page, and behind it a service that answers as the test says."""
    listener = socket.create_server(("127.0.0.1", 0))
    scripted = Scripted(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    app = FastAPI()
    app.include_router(page.router())
    app.add_route("/{path:path}", scripted.reply, methods=["GET", "POST", "DELETE"])
    with serving(app, listener):
        yield scripted
