"""Requests are bounded, halved when they are too much, and every object is accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from weaviate.classes.data import DataObject
from weaviate.exceptions import (
    WeaviateBatchError,
    WeaviateInsertManyAllFailedError,
    WeaviateRetryError,
)

import config
from search.errors import StoreUnavailable
from search.store.weaviate.objects import Object
from search.store.weaviate.writing import sending
from search.store.weaviate.writing.sending import Sender, cut


def objects(count: int, size: int = 100) -> list[Object]:
    return [
        DataObject({"text": "x" * size, "n": i}, uuid=UUID(int=i), vector={"default": [0.0] * 10})
        for i in range(count)
    ]


class Server:
    """Answers as the client's `insert_many` does; refuses by number, or by size of the request."""

    def __init__(self, most: int = 1000, fault: str = "Deadline Exceeded") -> None:
        self.most, self.fault = most, fault
        self.refusals: dict[int, list[str]] = {}
        self.away = 0  # requests until it is back
        self.stored: Counter[int] = Counter()
        self.requests: list[int] = []
        self.data = self
        self.url = "there"
        self.silent = False
        self.most_after = 0  # what it takes once it has refused a request

    def lives(self) -> bool:
        return not self.silent

    def insert_many(self, objects: Sequence[Object]) -> Any:
        self.requests.append(len(objects))
        if len(self.requests) <= self.away:
            raise WeaviateRetryError("connection refused", 4)
        if len(objects) > self.most:
            self.most = max(self.most, self.most_after)
            raise WeaviateBatchError(self.fault)
        errors = {}
        for i, one in enumerate(objects):
            number = one.properties["n"]
            if reasons := self.refusals.get(number):
                errors[i] = SimpleNamespace(message=reasons.pop(0))
            else:
                self.stored[number] += 1
        if len(errors) == len(objects):
            reasons = "\n".join({error.message for error in errors.values()})
            raise WeaviateInsertManyAllFailedError(f"Here is the set of all errors: {reasons}")
        return SimpleNamespace(errors=errors)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PAUSE_SECONDS", 0)


def send(server: Server, count: int, request_bytes: int = 10**6) -> dict[UUID, str]:
    settings = config.load({"weaviate.batch_bytes": request_bytes}).weaviate
    return Sender(server, server, settings).send(objects(count))  # type: ignore[arg-type]


def test_runs_are_bounded_by_bytes() -> None:
    assert [len(run) for run in cut(objects(10), 1000)] == [2, 2, 2, 2, 2]
    assert [len(run) for run in cut(objects(3, size=5000), 1000)] == [1, 1, 1]
    assert list(cut([], 1000)) == []


@pytest.mark.parametrize(
    "fault", ["Deadline Exceeded", "grpc: received message larger than max (9 vs. 8)"]
)
def test_a_request_that_is_too_much_is_cut_until_it_fits(fault: str) -> None:
    server = Server(most=3, fault=fault)
    assert send(server, 20) == {}
    assert server.stored == Counter(range(20))
    assert max(server.requests[2:]) <= 10


def test_a_silent_server_ends_the_import_after_one_request() -> None:
    server = Server(most=3)
    server.silent = True
    with pytest.raises(StoreUnavailable, match=r"fell silent while 20 passages were sent"):
        send(server, 20)
    assert len(server.requests) == 1


def test_a_slow_server_gets_smaller_requests_once() -> None:
    server = Server(most=1)
    with pytest.raises(WeaviateBatchError, match="Deadline Exceeded"):
        send(server, 20)
    assert server.requests == [20, 3]  # twice the time for one request, and no more


@pytest.mark.parametrize("fault", ["Received RST_STREAM with error code 2", "could not find class"])
def test_a_connection_broken_off_and_a_server_that_starts_are_tried_again(fault: str) -> None:
    server = Server(fault=fault)
    server.most, server.most_after = 0, 1000
    assert send(server, 5) == {}
    assert server.stored == Counter(range(5))


def test_one_object_that_is_too_large_is_returned_with_the_reason() -> None:
    said = "received message larger than max"
    assert send(Server(most=0, fault=said), 2) == {UUID(int=0): said, UUID(int=1): said}


def test_a_server_too_slow_for_one_object_stops_the_import() -> None:
    with pytest.raises(WeaviateBatchError, match="Deadline Exceeded"):
        send(Server(most=0), 2)


def test_a_passing_refusal_is_tried_again() -> None:
    server = Server()
    server.refusals = {3: ["hiccup"], 5: ["hiccup", "hiccup"]}
    assert send(server, 8) == {}
    assert set(server.stored) == set(range(8))


def test_a_lasting_refusal_comes_back_with_the_servers_reason() -> None:
    server = Server()
    server.refusals = {3: ["bad vector"] * 9}
    assert send(server, 8) == {UUID(int=3): "bad vector"}
    assert set(server.stored) == set(range(8)) - {3}


def test_a_refusal_of_all_is_no_exception() -> None:
    server = Server()
    server.refusals = {i: ["bad vector"] * 9 for i in range(4)}
    assert send(server, 4) == {UUID(int=i): "bad vector" for i in range(4)}


def test_each_object_of_a_wholly_refused_request_gets_its_own_reason() -> None:
    server = Server()
    server.refusals = {i: [f"bad vector of {UUID(int=i)}"] * 9 for i in range(3)}
    assert send(server, 3) == {UUID(int=i): f"bad vector of {UUID(int=i)}" for i in range(3)}


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("store is read-only due to: disk usage too high", "free space"),
        ("send POST request: dial tcp 127.0.0.1:9: connect: connection refused", "vectorizer"),
    ],
)
def test_a_fault_of_the_server_stops_the_import(reason: str, said: str) -> None:
    server = Server()
    server.refusals = {i: [reason] * 9 for i in range(4)}
    with pytest.raises(StoreUnavailable, match=said):
        send(server, 4)


def test_a_server_that_comes_back_gets_the_request_again() -> None:
    server = Server()
    server.away = sending.RECONNECTS
    assert send(server, 5) == {}
    assert server.stored == Counter(range(5))


def test_a_server_that_stays_away_ends_it() -> None:
    server = Server()
    server.away = sending.RECONNECTS + 1
    with pytest.raises(WeaviateRetryError):
        send(server, 5)


def test_other_errors_of_the_client_are_raised() -> None:
    with pytest.raises(WeaviateBatchError, match="out of order"):
        send(Server(most=0, fault="out of order"), 2)
