"""Many queries in one request: they take their turn like anybody else's."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from fakes import ListStore, candidate
from serve_fakes import Lengths, Share, make_service
from starlette.testclient import TestClient
from test_serve_callers import Request

from search.errors import ModelError
from search.rerank import Scored
from search.serve.app import build_app
from search.serve.caller import Caller
from search.serve.models import Models
from search.serve.search_api import AT_ONCE, _with_share
from search.types import Candidate

MANY = 12
SECONDS = 0.02


class Slow(Share):
    """A reranker that takes a while for each call."""

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        time.sleep(SECONDS * len(pairs))
        return super().score_pairs(pairs, seconds)


class Counting(ListStore):
    """A store that knows how many were searching it at once, and for what."""

    def __init__(self) -> None:
        super().__init__([candidate("a", "heart", 0.9, 1), candidate("b", "knee", 0.8, 2)])
        self.asked: list[str] = []
        self.now = self.most = 0
        self._lock = threading.Lock()

    def retrieve(self, query: str, *args: Any, **kwargs: Any) -> list[Candidate]:
        with self._lock:
            self.asked.append(query)
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(SECONDS)
        with self._lock:
            self.now -= 1
        return super().retrieve(query, *args, **kwargs)


def queries(count: int = MANY) -> dict[str, list[str]]:
    return {"queries": [f"heart {i}" for i in range(count)]}


def test_a_few_are_searched_at_once_and_all_are_answered_in_order() -> None:
    store = Counting()
    with TestClient(build_app(make_service(store, **{"serve.cache_bytes": 0}))) as client:
        found = client.post("/search", json=queries()).json()
    assert [answer["query"] for answer in found["answers"]] == queries()["queries"]
    assert store.most == AT_ONCE


def test_nobody_else_is_shut_out_meanwhile() -> None:
    """However long all of them take: a search beside them waits for the few under way."""

    async def scenario() -> None:
        models = Models(Lengths(), Slow(), max_wait=0.001)
        service = make_service(Counting(), models=models, **{"serve.max_wait_ms": 1})
        app = build_app(service)
        first = Request(app, "POST", "/search", {"query": "measured"})
        await asyncio.wait_for(first.ended, 10)
        many = Request(app, "POST", "/search", queries())
        await asyncio.sleep(2 * SECONDS)
        others = [
            Request(app, "POST", "/search", {"query": "knee"}),
            Request(app, "POST", "/rerank", {"query": "knee", "texts": ["a", "b"]}),
        ]
        for other in others:
            await asyncio.wait_for(other.ended, 10)
            assert other.status == 200
        assert not many.ended.done()
        await asyncio.wait_for(many.ended, 10)
        assert many.status == 200
        service.close()

    asyncio.run(scenario())


def test_what_is_left_is_not_searched_when_the_caller_leaves_or_one_fails() -> None:
    async def left() -> Counting:
        store = Counting()
        service = make_service(store, models=Models(Lengths(), Slow()))
        request = Request(build_app(service), "POST", "/search", queries())
        await asyncio.sleep(3 * SECONDS)
        await request.left()
        service.close()
        return store

    class Failing(Counting):
        def retrieve(self, query: str, *args: Any, **kwargs: Any) -> list[Candidate]:
            super().retrieve(query, *args, **kwargs)
            raise ModelError("the device is gone")

    assert len(asyncio.run(left()).asked) < MANY
    failing = Failing()
    with TestClient(build_app(make_service(failing))) as client:
        answer = client.post("/search", json=queries())
        assert (answer.status_code, answer.json()["error"]) == (500, "the device is gone")
    assert len(failing.asked) <= 2 * AT_ONCE


def test_a_query_that_is_too_long_is_refused_before_any_is_searched() -> None:
    store = Counting()
    with TestClient(build_app(make_service(store))) as client:
        answer = client.post("/search", json={"queries": ["heart", "x" * 20_001]})
    assert (answer.status_code, store.asked) == (422, [])


@pytest.mark.parametrize(("queries", "share"), [(1, 8.0), (AT_ONCE, 8.0), (4 * AT_ONCE, 2.0)])
def test_a_deadline_is_shared_out(queries: int, share: float) -> None:
    """Else the first of them would have all of the time."""
    caller = Caller("a", arrived=time.monotonic() - 2.0)
    mine = _with_share(caller, caller.arrived + 10.0, queries)
    assert mine.deadline is not None
    assert mine.deadline - time.monotonic() == pytest.approx(share, abs=0.1)
    caller.leave()
    assert mine.left.is_set()


def test_without_a_deadline_there_is_none() -> None:
    assert _with_share(Caller("a"), math.inf, 9).deadline is None
