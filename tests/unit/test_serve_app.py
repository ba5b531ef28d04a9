"""Weaviate's protocols, over stand-in models."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serve_fakes import Lengths, Share, make_service

from search.serve.app import build_app
from search.serve.models import Models
from search.serve.queue import FairQueue
from search.serve.queued import MAX_CHARACTERS


def probability(share: float) -> float:
    """By the formula for a logit without a first stage's scores."""
    return 1 / (1 + math.exp(-(1 + 2 * share)))


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(build_app(make_service()), raise_server_exceptions=False) as client:
        yield client


def vectors(client: TestClient, text: str, **config: Any) -> Any:
    """As Weaviate 1.39 sends it: no content type, all fields of the answer in the question."""
    body = {"text": text, "dims": 0, "vector": None, "error": "", "config": config}
    return client.post("/vectors", content=json.dumps(body))


def test_vectors_of_passages_and_queries(client: TestClient) -> None:
    answer = vectors(client, "heart", pooling_strategy="masked_mean", task_type="passage")
    assert answer.status_code == 200
    assert answer.json() == {"text": "heart", "vector": [5.0, 1.0], "dim": 2, "dims": 2}
    assert vectors(client, "heart", task_type="query").json()["vector"] == [5.0, 0.0]
    assert vectors(client, "", dimensions=2).json()["vector"] == [0.0, 1.0]


def test_parallel_calls_get_their_own_vectors(client: TestClient) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: vectors(client, "x" * n).json(), range(200)))
    assert [answer["vector"][0] for answer in answers] == list(range(200))


def test_scores_come_in_input_order_one_for_each_document(client: TestClient) -> None:
    documents = ["no match", "prevent heart disease", "heart", "heart"]
    answer = client.post(
        "/rerank",
        json={"query": "prevent heart disease", "documents": documents, "property": ""},
    )
    assert answer.status_code == 200
    scores = answer.json()["scores"]
    assert [one["document"] for one in scores] == documents
    assert [one["score"] for one in scores] == pytest.approx(
        [probability(n) for n in (0, 1, 1 / 3, 1 / 3)]
    )
    empty = client.post("/rerank", json={"query": "x", "documents": []})
    assert (empty.status_code, empty.json()["scores"]) == (200, [])


@pytest.mark.parametrize("path", ["/.well-known/ready", "/.well-known/live"])
def test_it_is_ready_when_it_answers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.content) == (204, b"")


def test_meta_names_the_models(client: TestClient) -> None:
    meta = client.get("/meta").json()
    assert meta["embedding"]["name"] == "lengths"
    assert meta["reranker"] == {"name": "share"}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/vectors", '{"text": 3}', 422, "text: "),
        ("/vectors", "{", 422, "Invalid JSON"),
        ("/vectors", '{"text": "x", "config": {"dimensions": 99}}', 422, "99"),
        ("/vectors", '{"text": "x", "config": {"task_type": "poem"}}', 422, "task_type"),
        ("/rerank", '{"query": "x"}', 422, "documents"),
        ("/rerank", f'{{"query": "{"x" * 101}", "documents": ["a"]}}', 422, "too long"),
        ("/rerank", '{"query": "x", "documents": ["nan"]}', 500, "not a number"),
        ("/nowhere", "{}", 404, "Not Found"),
    ],
)
def test_an_error_is_json_with_its_reason(
    client: TestClient, path: str, body: str, status: int, said: str
) -> None:
    answer = client.post(path, content=body)
    assert answer.status_code == status
    assert said in answer.json()["error"]


@pytest.mark.parametrize("path", ["/search", "/v1/rerank", "/v1/embeddings", "/embed", "/rerank"])
def test_a_body_that_is_not_called_json_is_415_everywhere(client: TestClient, path: str) -> None:
    answer = client.post(path, data={"query": "heart"})
    assert answer.status_code == 415
    said = "found the content type application/x-www-form-urlencoded, expected application/json"
    assert said in answer.text


def test_without_a_reranker_rerank_says_so() -> None:
    with TestClient(build_app(make_service(reranker=False))) as client:
        answer = client.post("/rerank", json={"query": "x", "documents": ["a"]})
        assert (answer.status_code, "without a reranker" in answer.json()["error"]) == (501, True)
        assert client.get("/meta").json()["reranker"] is None


def test_a_text_is_cut_before_the_model_sees_it(client: TestClient) -> None:
    assert vectors(client, "x" * 3_000_000).json()["vector"] == [float(MAX_CHARACTERS), 1.0]


def test_a_body_that_is_too_large_is_refused_unread(client: TestClient) -> None:
    answer = client.post("/rerank", content=b"[" * 4_000_001)
    assert answer.status_code == 413
    assert "4,000,000 bytes" in answer.json()["error"]


def test_ready_says_that_a_model_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(Lengths(), Share())
    with TestClient(build_app(make_service(models=models))) as client:
        assert client.get("/.well-known/ready").status_code == 204
        monkeypatch.setattr(FairQueue, "fault", lambda self: "it has been at one batch for 61 s")
        answer = client.get("/.well-known/ready")
        assert (answer.status_code, client.get("/.well-known/live").status_code) == (503, 204)
        assert answer.json()["error"].count("at one batch for 61 s") == 2


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/documents", {"GET", "POST"}),
        ("/documents/a", {"GET", "DELETE"}),
        ("/", {"GET", "HEAD"}),
        ("/openapi.json", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_told_which_ones_are_right(
    client: TestClient, path: str, methods: set[str]
) -> None:
    answer = client.request("PATCH", path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == methods


def test_a_key_is_described_where_one_is_asked_for(client: TestClient) -> None:
    search = client.get("/openapi.json").json()["paths"]["/search"]
    assert "security" not in search["get"]
    keys = {"page": "read " + "k" * 40}
    with TestClient(build_app(make_service(serve={"keys": keys}))) as keyed:
        search = keyed.get("/openapi.json").json()["paths"]["/search"]
    assert search["get"]["security"] == [{"HTTPBearer": []}]
