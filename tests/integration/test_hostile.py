"""Nothing that a client does is a fault of the service, and none of it wears the service out.

The same, longer: tests/benchmarks/service.py.
"""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import fuzz, send_all, slow_sender
from running_service import Running, running

RECORDS = [
    {"id": "walk", "text": "Walk every day to prevent heart disease.", "year": 2020},
    {"id": "salt", "text": "Less salt is good for the heart.", "tags": ["food", "heart"]},
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("hostile")) as service:
        service.ask("documents", RECORDS)
        yield service


def answers_normally(service: Running) -> None:
    started = time.monotonic()
    assert service.search("how to prevent heart disease")["hits"][0]["id"] == "walk"
    assert time.monotonic() - started < 10


def test_every_answer_is_as_openapi_says_and_none_is_a_fault(
    service: Running, tmp_path: Path
) -> None:
    cases, said = fuzz(service.url.rstrip("/"), 12, tmp_path, "fuzzing")
    assert said == "no failures", said
    assert cases > 150


def test_the_longest_query_fits_into_an_address(service: Running) -> None:
    """20,000 characters of which each takes twelve bytes there."""
    query = urllib.parse.quote("\U0001f600" * 20_000)
    (found,) = service.ask(f"search?limit=1&rerank=false&q={query}")
    assert len(found["query"]) == 20_000


def test_hostile_bodies_are_refused_and_forgotten(service: Running) -> None:
    service.ask("documents?take_over=true", RECORDS)
    dawdlers = [slow_sender(service.port) for _ in range(20)]
    try:
        statuses = send_all(service.port, 200)
        answers_normally(service)
    finally:
        for connection in dawdlers:
            connection.close()
    faults = {status: n for status, n in statuses.items() if status and status >= 500}
    assert not faults, f"{faults}\n{(service.folder / 'log').read_text()[-3000:]}"
    assert statuses.total() == 200
    assert {413, 415, 422} <= statuses.keys()
    answers_normally(service)
