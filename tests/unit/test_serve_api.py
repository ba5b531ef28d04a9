"""Search and status over HTTP: a real embedded store, stand-in models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serve_bench import RECORDS, Directions, lines, serving
from serve_fakes import Share

import config
from search.errors import ModelError, StoreUnavailable
from search.rerank import Scored
from search.serve.app import build_app
from search.serve.models import Models
from search.serve.service import Service


class Broken(Share):
    """A cross-encoder that dies."""

    def score_pairs(self, pairs: Any, seconds: float | None = None) -> list[Scored]:
        raise ModelError("the device is gone")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with serving(tmp_path) as client:
        yield client


@pytest.fixture
def filled(client: TestClient) -> TestClient:
    assert lines(client.post("/documents", json=RECORDS))[-1]["summary"]["stored"] == 3
    return client


# --- searching


def test_a_search_gives_what_the_command_gives_as_json(filled: TestClient) -> None:
    answer = filled.post("/search", json={"query": "prevent heart disease", "limit": 2})
    found = answer.json()
    assert found["hits"][0]["id"] == "walk"
    assert len(found["hits"]) == 2
    assert (found["reranked"], found["scored"], found["reason"]) == (True, 3, None)
    assert found["request_id"] == answer.headers["x-request-id"]
    assert found["hits"][0]["metadata"] == {"year": 2020}
    assert found["hits"][0]["source"] == {"file": "upload:documents", "line": 1}
    assert "before" not in found
    assert "passages" not in found["hits"][0]


def test_the_same_by_address(filled: TestClient) -> None:
    posted = filled.post("/search", json={"query": "heart", "where": ["year>=2021"], "limit": 5})
    got = filled.get("/search", params={"q": "heart", "where": "year>=2021", "limit": 5})
    assert [hit["id"] for hit in got.json()["hits"]] == ["salt"]
    assert got.json()["hits"] == posted.json()["hits"]


def test_the_first_stage_and_other_passages_come_where_asked_for(filled: TestClient) -> None:
    wanted = {"query": "heart", "before": True, "passages": True, "limit": 2}
    found = filled.post("/search", json=wanted).json()
    assert [hit["rank"] for hit in found["before"]] == [1, 2]
    assert {hit["probability"] for hit in found["before"]} == {None}
    assert found["hits"][0]["passages"] == []


def test_queries_are_answered_in_their_order(filled: TestClient) -> None:
    found = filled.post("/search", json={"queries": ["cataract", "salt"], "limit": 1}).json()
    assert [answer["hits"][0]["id"] for answer in found["answers"]] == ["eye", "salt"]


def test_a_gate_tuned_for_another_retrieval_says_so_and_its_hits_are_counted(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, gate=0.0, gate_tuned_for="hybrid bundled") as client:
        client.post("/documents", json=RECORDS)
        found = client.post("/search", json={"query": "heart"}).json()
        assert (found["reranked"], found["notes"]) == (False, [])
        assert "the first stage is sure" in found["reason"]
        (note,) = client.post("/search", json={"query": "heart", "retrieval": "bm25"}).json()[
            "notes"
        ]
        assert "tuned for 'hybrid bundled', but this search uses 'bm25 bundled'" in note
        metrics = client.get("/metrics").text
    assert 'two_stage_searches_total{outcome="gate"} 2.0' in metrics


def test_null_is_a_value_and_not_the_same_as_absent(tmp_path: Path) -> None:
    with serving(tmp_path, gate=0.0) as client:
        client.post("/documents", json=RECORDS)
        assert client.post("/search", json={"query": "heart"}).json()["reranked"] is False
        ungated = client.post("/search", json={"query": "heart", "gate": None}).json()
    assert ungated["reranked"] is True


def test_a_dead_reranker_leaves_the_first_order_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path, Broken()) as client:
        client.post("/documents", json=RECORDS)
        caplog.clear()
        found = client.post("/search", json={"query": "heart disease"}).json()
        assert len(found["hits"]) == 3
        assert (found["reranked"], found["reason"]) == (
            False,
            "the reranker failed: the device is gone",
        )
        assert 'two_stage_fallbacks_total{reason="failed"} 1.0' in client.get("/metrics").text
    assert [r.getMessage() for r in caplog.records].count(
        "the reranker failed: the device is gone"
    ) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "expected one of them"),
        ({"query": "a", "queries": ["b"]}, "expected one of them"),
        ({"query": " "}, "query: empty, expected some words"),
        ({"queries": ["a", ""]}, "queries.1: empty, expected some words"),
        ([], "body: found [], expected a JSON object"),
        ({"query": "a", "limit": 0}, "limit"),
        ({"query": "a", "limit": True}, "limit"),
        ({"qurey": "a"}, "'qurey' is unknown; is 'query' meant?"),
        ({"query": "a", "zzz": 3}, "'zzz' is unknown; expected limit, candidates, where"),
        ({"query": "a", "where": ["year"]}, "FIELD OPERATOR VALUE"),
        ({"query": "a" * 20_001}, "at most 20,000"),
        ({"queries": ["a"] * 33}, "at most 32"),
        ({"query": "a", "deadline_ms": 0}, "deadline_ms"),
    ],
)
def test_what_cannot_be_asked_is_explained(client: TestClient, body: Any, said: str) -> None:
    answer = client.post("/search", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_what_cannot_be_asked_by_address_is_explained(client: TestClient) -> None:
    unknown = client.get("/search", params={"q": " ", "limits": 3})
    assert unknown.status_code == 422
    assert "q: empty, expected some words" in unknown.json()["error"]
    assert "'limits' is unknown; is 'limit' meant?" in unknown.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "\\ud800"}',
        b'{"query": "a", "where": ["language=\\ud800"]}',
        b'{"query": "a", "where": ["x\\ud800=1"]}',
        b'{"query": "a", "x\\ud800": 1}',
        b'{"query": "a", "alpha": NaN}',
        b'{"query": "a", "alpha": Infinity}',
        b'{"query": "a", "limit": 1' + b"0" * 5000 + b"}",
        b'{"query": "\xff"}',
        b"[" * 100_000,
        b'{"query": ' + b"[" * 100_000,
        b"",
        b"\x00",
    ],
    ids=range(12),
)
def test_no_body_is_a_fault_of_the_service(client: TestClient, body: bytes) -> None:
    answer = client.post("/search", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_half_a_character_is_called_that(client: TestClient) -> None:
    """A text that was cut in the middle of an emoji, by a program that counts in UTF-16."""
    body = b'{"query": "a", "where": ["year>1", "language=\\ud83d"]}'
    answer = client.post("/search", content=body, headers={"content-type": "application/json"})
    assert answer.json()["error"].startswith("where.1: found half a character")


def test_nul_and_control_characters_are_words_like_others(filled: TestClient) -> None:
    found = filled.post("/search", json={"query": "heart\x00\x1b[2J"})
    assert found.status_code == 200
    assert found.json()["query"] == "heart\x00\x1b[2J"


def test_the_deadline_counts_from_the_arrival(filled: TestClient) -> None:
    found = filled.post("/search", json={"query": "heart", "deadline_ms": 0.001}).json()
    assert found["reranked"] is False
    assert "deadline of 0.001 ms" in found["reason"]
    assert len(found["hits"]) == 3


# --- documents


# --- what runs here


def test_status_says_what_is_there(filled: TestClient) -> None:
    status = filled.get("/status").json()
    assert status["store"]["documents"] == 3
    assert status["fields"] == {"tags": ["text"], "year": ["number"]}
    assert status["embedding"]["name"] == "lengths"
    assert status["defaults"]["candidates"] == 20
    assert status["may_write"] is True


def test_it_starts_without_its_store_and_finds_it_later(tmp_path: Path) -> None:
    away = StoreUnavailable("nobody is there")
    loaded = config.load({"store": str(tmp_path / "s.db")}, {}, [])
    service = Service.over(loaded, Models(Directions(), Share()))
    opened, service._open_store = service._open_store, lambda: (_ for _ in ()).throw(away)
    with TestClient(build_app(service)) as client:
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert ready.json()["store"] == {"ok": False, "reason": "nobody is there"}
        assert ready.json()["encoder"]["ok"]
        assert client.get("/live").json() == {"ok": True}
        answer = client.post("/search", json={"query": "a"})
        assert (answer.status_code, answer.json()["error"]) == (503, "nobody is there")
        service._open_store, service._next_try = opened, 0.0
        assert client.get("/ready").status_code == 200
        assert client.post("/search", json={"query": "a"}).json()["hits"] == []


def test_openapi_names_every_route(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/search", "/documents", "/documents/{document_id}", "/status", "/ready"} <= set(paths)
    for path, methods in paths.items():
        for method in methods.values():
            assert method.get("summary"), path
