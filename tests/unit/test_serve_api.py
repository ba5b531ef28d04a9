"""Search, documents and status over HTTP: a real embedded store, stand-in models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from serve_fakes import Lengths, Share

import config
from search.errors import ModelError, StoreUnavailable
from search.rerank import Scored
from search.serve.app import build_app
from search.serve.models import Models
from search.serve.service import Service
from search.store.lock import only_writer

RECORDS = [
    {"id": "walk", "title": "Walking", "text": "walk to prevent heart disease", "year": 2020},
    {"id": "salt", "title": "Salt", "text": "less salt is good for the heart", "year": 2022},
    {"id": "eye", "title": "Eyes", "text": "a cataract clouds the lens", "tags": ["eye", "old"]},
]
JSON_LINES = "application/x-ndjson"


class Directions(Lengths):
    """Vectors of length 1, as a store wants them, and longer passages."""

    def encode_passages(self, texts: list[str]) -> NDArray[np.float32]:
        vectors = super().encode_passages(texts)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_query(self, text: str) -> NDArray[np.float32]:
        return np.array([1, 0], np.float32)


class Broken(Share):
    """A cross-encoder that dies."""

    def score_pairs(self, pairs: Any, seconds: float | None = None) -> list[Scored]:
        raise ModelError("the device is gone")


@contextmanager
def serving(folder: Path, reranker: Share | None = None, **settings: Any) -> Iterator[TestClient]:
    loaded = config.load({"store": str(folder / "s.db"), **settings}, {}, [])
    service = Service.over(loaded, Models(Directions(), reranker or Share()))
    with TestClient(build_app(service), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with serving(tmp_path) as client:
        yield client


@pytest.fixture
def filled(client: TestClient) -> TestClient:
    assert lines(client.post("/documents", json=RECORDS))[-1]["summary"]["stored"] == 3
    return client


def lines(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == JSON_LINES
    return [json.loads(line) for line in answer.text.splitlines()]


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
        ({"query": " "}, "query"),
        ({"query": "a", "limit": 0}, "limit"),
        ({"query": "a", "limit": True}, "limit"),
        ({"query": "a", "limits": 3}, "limits"),
        ({"query": "a", "where": ["year"]}, "FIELD OPERATOR VALUE"),
        ({"query": "a" * 20_001}, "at most 20,000"),
        ({"queries": ["a"] * 33}, "at most 32"),
        ({"query": "a", "deadline_ms": 0}, "deadline_ms"),
    ],
)
def test_what_cannot_be_asked_is_explained(
    client: TestClient, body: dict[str, Any], said: str
) -> None:
    answer = client.post("/search", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "\\ud800"}',
        b'{"query": "a", "alpha": NaN}',
        b'{"query": "a", "alpha": Infinity}',
        b'{"query": "a", "limit": 1' + b"0" * 5000 + b"}",
        b'{"query": "\xff"}',
        b"[" * 100_000,
        b'{"query": ' + b"[" * 100_000,
        b"",
        b"\x00",
    ],
    ids=range(9),
)
def test_no_body_is_a_fault_of_the_service(client: TestClient, body: bytes) -> None:
    answer = client.post("/search", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


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


def test_each_record_has_its_end_in_a_line(filled: TestClient) -> None:
    again = [RECORDS[0], RECORDS[1] | {"text": "other words"}, {"id": "x"}, "text", RECORDS[2]]
    *ends, last = lines(filled.post("/documents", json=again))
    assert {end["number"]: (end["status"], end["id"]) for end in ends} == {
        1: ("unchanged", "walk"),
        2: ("rejected", "salt"),
        3: ("rejected", "x"),
        4: ("unchanged", "eye"),
        5: ("rejected", None),  # one for all that are no objects
    }
    summary = last["summary"]
    assert (summary["read"], summary["unchanged"], summary["rejected"]) == (5, 2, 3)
    reasons = [end["reason"] for end in ends if end["id"] == "salt"]
    assert reasons == ["id 'salt' belongs to upload:documents:1; take_over=true replaces it"]


def test_documents_are_replaced_only_when_that_is_meant(filled: TestClient) -> None:
    changed = [RECORDS[1] | {"text": "other words"}]
    assert lines(filled.post("/documents", json=changed))[0]["status"] == "rejected"
    assert lines(filled.post("/documents?take_over=true", json=changed))[0]["status"] == "stored"
    assert filled.get("/documents/salt").json()["passages"][0]["text"] == "other words"


def test_json_lines_with_a_bad_one_between(client: TestClient) -> None:
    body = b'{"id": "a", "text": "first"}\n{"id": \n\n{"id": "b", "text": "last"}\n'
    answer = client.post(
        "/documents?name=dump.jsonl", content=body, headers={"content-type": JSON_LINES}
    )
    *ends, last = lines(answer)
    assert {(end["status"], end["location"]) for end in ends} == {
        ("stored", "dump.jsonl:1"),
        ("rejected", "dump.jsonl:2"),
        ("stored", "dump.jsonl:4"),
    }
    assert last["summary"]["problem"] is None


def test_files_are_read_by_their_names(client: TestClient) -> None:
    files = [
        ("files", ("notes/heart.md", b"# The heart\n\nIt beats.\n")),
        ("files", ("table.csv", b"id,text\n1,one\n2,two\n")),
        ("files", ("picture.png", b"\x89PNG\r\n\x1a\n\x00\x00")),
    ]
    *ends, last = lines(client.post("/documents", files=files))
    assert {(end["status"], end["id"]) for end in ends} == {
        ("stored", "upload:notes/heart.md"),
        ("stored", "1"),
        ("stored", "2"),
        ("rejected", None),
    }
    assert last["summary"]["rejected"] == 1
    document = client.get("/documents/upload:notes/heart.md").json()
    assert (document["title"], document["source"]["file"]) == (
        "The heart",
        "upload:notes/heart.md",
    )


def test_two_uploads_of_one_name_do_not_overwrite_each_other(client: TestClient) -> None:
    def send(text: bytes) -> dict[str, Any]:
        return lines(client.post("/documents", files={"files": ("notes.txt", text)}))[0]

    assert send(b"mine")["status"] == "stored"
    assert send(b"mine")["status"] == "unchanged"
    assert send(b"somebody else's")["status"] == "rejected"
    assert client.get("/documents/upload:notes.txt").json()["passages"][0]["text"] == "mine"


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\x1b[2J.txt", "x" * 2000, " ", "C:\\a.txt"])
def test_a_hostile_file_name_is_only_a_name(client: TestClient, name: str) -> None:
    (end, _) = lines(client.post("/documents", files={"files": (name, b"words")}))
    assert end["status"] == "stored"
    assert "\x1b" not in end["id"]
    assert client.get("/documents").json()["total"] == 1


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b"{}", None, 415),
        (b"x", "multipart/form-data", 422),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 422),
    ],
)
def test_a_body_that_is_no_document_is_refused(
    client: TestClient, content: bytes, kind: str | None, status: int
) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = client.post("/documents", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"\xff\xfe\x00", b"", b"1", b'{"a": 1' + b"0" * 9999]
)
def test_documents_that_are_broken_are_rejected_and_counted(
    client: TestClient, body: bytes
) -> None:
    answer = client.post("/documents", content=body, headers={"content-type": "application/json"})
    *ends, last = lines(answer)
    assert [end["status"] for end in ends] == ["rejected"]
    assert last["summary"]["rejected"] == 1
    assert client.get("/documents").json()["total"] == 0


def test_documents_are_listed_page_by_page(client: TestClient) -> None:
    records = [{"id": f"d/{i}", "text": f"text {i}"} for i in range(7)]
    client.post("/documents", json=records)
    seen, after = [], None
    while True:
        page = client.get("/documents", params={"limit": 3} | ({"after": after} if after else {}))
        seen += [document["id"] for document in page.json()["documents"]]
        assert page.json()["total"] == 7
        after = page.json()["next"]
        if after is None:
            break
    assert seen == [f"d/{i}" for i in range(7)]
    gone = client.get("/documents", params={"after": "nobody"})
    assert (gone.status_code, "'nobody'" in gone.json()["error"]) == (422, True)


def test_one_document_is_shown_and_deleted(client: TestClient) -> None:
    client.post("/documents", json={"id": "a/b c?d", "text": "words", "title": "T", "n": 1})
    path = "/documents/a/b%20c%3Fd"
    assert client.get(path).json() == {
        "id": "a/b c?d",
        "title": "T",
        "source": {"file": "upload:documents", "line": 1},
        "metadata": {"n": 1},
        "passages": [{"text": "words", "location": None}],
    }
    assert client.delete(path).json() == {"deleted": "a/b c?d"}
    assert client.delete(path).status_code == 404
    assert client.get(path).status_code == 404


def test_while_another_process_writes_the_answer_says_so(
    filled: TestClient, tmp_path: Path
) -> None:
    settings = config.load({"store": str(tmp_path / "s.db")}, {}, [])
    with only_writer(settings):
        for answer in (filled.post("/documents", json=RECORDS), filled.delete("/documents/eye")):
            assert answer.status_code == 503
            assert "another process is writing" in answer.json()["error"]
        assert filled.get("/search", params={"q": "heart"}).status_code == 200
    assert filled.delete("/documents/eye").status_code == 200


def test_without_room_for_what_is_sent_the_answer_says_so(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("search.serve.upload.shutil.copyfileobj", full)
    answer = client.post("/documents", files={"files": ("a.txt", b"words")})
    assert (answer.status_code, "No space left" in answer.json()["error"]) == (503, True)


def test_an_upload_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    limits = {"serve.max_upload_bytes": 2000, "serve.max_body_bytes": 1024}
    with serving(tmp_path, **limits) as client:
        headers = {"content-type": JSON_LINES}
        assert client.post("/documents", content=b" " * 2001, headers=headers).status_code == 413
        assert client.post("/documents", content=b" " * 1500, headers=headers).status_code == 200
        assert client.post("/search", json={"query": "a" * 1100}).status_code == 413


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
