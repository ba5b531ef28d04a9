"""A caller who goes away in the middle frees its place at once, wherever it waits."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from fakes import ListStore
from serve_fakes import Lengths, Share, make_service

from search.rerank import Scored
from search.serve.app import build_app
from search.serve.models import Models
from search.serve.service import Service

DOCUMENTS = ["heart", "knee"]


class Held(Share):
    """A reranker that is at its first batch until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        self.entered.set()
        assert self.let_go.wait(10)
        return super().score_pairs(pairs, seconds)


class Empty(ListStore):
    def delete(self, ids: Iterable[str]) -> int:
        return 0


class Request:
    """A request whose caller can leave, and how it ended. It is sent when it is made."""

    def __init__(self, app: Any, method: str, path: str, body: object = None) -> None:
        self.leave = asyncio.Event()
        self.status = 0
        self._body = None if body is None else json.dumps(body).encode()
        headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
        if self._body is not None:
            headers.append((b"content-length", str(len(self._body)).encode()))
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": headers,
        }
        self.ended = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)

    async def left(self) -> float:
        """Leave; how many seconds it took until nothing was left of the request."""
        started = time.monotonic()
        self.leave.set()
        await asyncio.wait_for(self.ended, 5)
        return time.monotonic() - started


@contextmanager
def busy() -> Iterator[tuple[Service, Held]]:
    model = Held()
    service = make_service(models=Models(Lengths(), model))
    try:
        yield service, model
    finally:
        model.let_go.set()
        service.close()


@pytest.mark.parametrize("path", ["/v2/rerank", "/rerank"])
def test_who_leaves_while_a_batch_of_others_runs(path: str) -> None:
    async def run() -> None:
        with busy() as (service, model):
            app = build_app(service)
            body = {"query": "heart", "documents": DOCUMENTS, "model": "m"}
            first = Request(app, "POST", path, body)
            await asyncio.to_thread(model.entered.wait, 5)
            waits = [Request(app, "POST", path, body) for _ in range(3)]
            while len(service.models._scores._turns.waiting()) < 3:
                await asyncio.sleep(0.01)
            for request in waits[:2]:
                assert await request.left() < 0.5
            counted = service.metrics.exposition().decode()
            assert f'requests_total{{route="{path}",status="499"}} 2.0' in counted  # no fault
            assert len(service.models._scores._turns.waiting()) == 1
            assert not waits[2].ended.done()
            model.let_go.set()
            await asyncio.wait_for(asyncio.gather(first.ended, waits[2].ended), 5)
            assert (first.status, waits[2].status) == (200, 200)

    asyncio.run(run())


def test_who_leaves_while_another_writes() -> None:
    """As many as may wait wait and leave; then there is room again, and the lock is not lost."""

    async def run() -> None:
        service = make_service(Empty([]))
        app = build_app(service)
        async with service.writers_turn():
            waits = [Request(app, "DELETE", "/documents/x") for _ in range(8)]
            await asyncio.sleep(0.1)
            refused = Request(app, "DELETE", "/documents/x")
            await asyncio.wait_for(refused.ended, 5)
            assert refused.status == 429
            for request in waits:
                assert await request.left() < 0.5
            stays = Request(app, "DELETE", "/documents/x")
            await asyncio.sleep(0.1)
            assert not stays.ended.done()
        await asyncio.wait_for(stays.ended, 5)
        assert stays.status == 404
        service.close()

    asyncio.run(run())
