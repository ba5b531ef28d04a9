"""The rerank and embedding protocols that clients already speak, over stand-in models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from dialect_calls import PATHS, QUERY, TEXTS, post, probability, ranked
from serve_fakes import make_service
from starlette.testclient import TestClient

from search.serve import dialects
from search.serve.app import build_app
from search.serve.queue import FairQueue
from search.serve.queued import MAX_CHARACTERS


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(build_app(make_service()), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
def test_results_are_sorted_and_ties_keep_their_order(client: TestClient, path: str) -> None:
    answer = client.post(path, json={"model": "m", "query": QUERY, "documents": TEXTS})
    body = answer.json()
    assert [one["index"] for one in body["results"]] == [1, 2, 3, 0]
    assert [one["relevance_score"] for one in body["results"]] == pytest.approx(
        [probability(share) for share in (1, 1 / 3, 1 / 3, 0)]
    )
    assert all(one.keys() == {"index", "relevance_score"} for one in body["results"])
    assert body["model"] == "share"
    assert body["meta"]["warnings"] == ["'m' was asked for; 'share' is what this service runs"]
    assert body["meta"]["api_version"] == {"version": "2" if path == "/v2/rerank" else "1"}
    # Four pairs of three words in the query, and 2 + 3 + 1 + 1 in the texts.
    assert body["usage"] == {"prompt_tokens": 19, "total_tokens": 19}
    assert body["id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("top_n", "expected"), [(1, [1]), (2, [1, 2]), (99, [1, 2, 3, 0]), (0, [1, 2, 3, 0])]
)
def test_top_n(client: TestClient, top_n: int, expected: list[int]) -> None:
    assert [one["index"] for one in ranked(client, top_n=top_n)["results"]] == expected


def test_documents_may_be_objects_and_come_back_with_all_their_fields(client: TestClient) -> None:
    documents = ["heart", {"text": "no", "title": QUERY, "year": 2020, "tags": ["a", "b"]}]
    body = ranked(client, documents=documents, return_documents=True)
    assert [one["document"] for one in body["results"]] == [{"text": "heart"}, documents[1]]
    by_title = ranked(client, documents=documents, rank_fields=["title", "text"])
    assert [one["index"] for one in by_title["results"]] == [1, 0]


def test_a_limit_on_tokens_cuts_what_is_read_and_not_what_comes_back(client: TestClient) -> None:
    text = "no match at all heart"
    one: dict[str, Any] = {"documents": [text], "return_documents": True}
    for limit in ({"max_tokens_per_doc": 4}, {"truncate_prompt_tokens": 10}):
        body = ranked(client, **(one | limit))
        assert body["results"][0]["relevance_score"] == pytest.approx(probability(0))
        assert body["results"][0]["document"] == {"text": text}
    for limit in ({"max_tokens_per_doc": 5}, {"truncate_prompt_tokens": -1}):
        found = ranked(client, **(one | limit))["results"][0]["relevance_score"]
        assert found == pytest.approx(probability(1 / 3))


def test_cohere_counts_chunks_of_512_tokens(client: TestClient) -> None:
    late = "word " * 600 + "heart"
    scores = [
        ranked(client, documents=[late], max_chunks_per_doc=n)["results"][0]["relevance_score"]
        for n in (1, 2)
    ]
    assert scores == pytest.approx([probability(0), probability(1 / 3)])


def test_of_a_very_long_document_the_beginning_is_read(client: TestClient) -> None:
    late = "x " * (MAX_CHARACTERS // 2) + "heart"
    score = ranked(client, documents=[late])["results"][0]["relevance_score"]
    assert score == pytest.approx(probability(0))
    early = "heart " + "x " * 1_000_000
    score = ranked(client, documents=[early])["results"][0]["relevance_score"]
    assert score == pytest.approx(probability(1 / 3))


def test_one_thousand_documents_some_of_them_twice(client: TestClient) -> None:
    texts = [f"text {i % 500}" for i in range(999)] + [QUERY]
    results = ranked(client, documents=texts)["results"]
    assert len(results) == 1000
    assert results[0]["index"] == 999
    assert [one["index"] for one in results[1:]] == list(range(999))


@pytest.mark.parametrize("text", ["", "​‮﻿", "\x00", "🫀", "e\u0301" * 3])
def test_any_text_can_be_ranked(client: TestClient, text: str) -> None:
    body = ranked(client, documents=[text, "heart"], return_documents=True)
    assert [one["document"]["text"] for one in body["results"]] == ["heart", text]


def test_half_a_character_is_a_question_mark(client: TestClient) -> None:
    half = "heart \ud83e"  # a text that was cut in the middle of an emoji
    documents = [half, {"text": half, half: half}]
    answer = client.post(
        "/v1/rerank",
        content=json.dumps(
            {"documents": documents, "query": half, "model": half, "return_documents": True}
        ),
    )
    assert answer.status_code == 200
    results = json.loads(answer.content.decode("utf-8"))["results"]
    assert results[0]["document"] == {"text": "heart ?"}
    assert results[1]["document"] == {"text": "heart ?", "heart ?": "heart ?"}
    sent = json.dumps({"query": half, "texts": [half], "return_text": True})
    assert client.post("/rerank", content=sent).json()[0]["text"] == "heart ?"
    sent = json.dumps({"query": half, "documents": [half]})
    assert client.post("/rerank", content=sent).json()["scores"][0]["document"] == "heart ?"
    for path, field in {"/embed": "inputs", "/v1/embeddings": "input", "/vectors": "text"}.items():
        assert client.post(path, content=json.dumps({field: half})).status_code == 200


def test_tei_gives_a_bare_sorted_list(client: TestClient) -> None:
    body = post(client, "/rerank", query=QUERY, texts=TEXTS)
    assert [one["index"] for one in body] == [1, 2, 3, 0]
    assert body[0] == {"index": 1, "score": pytest.approx(probability(1))}
    raw = post(client, "/rerank", query=QUERY, texts=TEXTS, raw_scores=True, return_text=True)
    assert raw[1] == {"index": 2, "score": pytest.approx(1 / 3), "text": "heart"}


@pytest.mark.parametrize(
    ("body", "protocol"),
    [
        ({"texts": []}, "tei"),
        ({"texts": [], "model": "m"}, "tei"),
        ({"documents": [], "model": None}, "cohere"),
        ({"documents": [], "top_n": 3}, "cohere"),
        ({"documents": [], "return_documents": False}, "cohere"),
        ({"documents": [{"text": "a"}]}, "cohere"),
        ({"documents": ["a"], "max_tokens_per_doc": 9}, "cohere"),
        ({"documents": ["a"]}, "weaviate"),
        ({"documents": ["a"], "property": ""}, "weaviate"),
        ([], "weaviate"),
        ("text", "weaviate"),
        (None, "weaviate"),
    ],
)
def test_who_asks_on_the_shared_path(body: Any, protocol: str) -> None:
    assert dialects.rerank.protocol_of(body) == protocol


def test_models_and_info(client: TestClient) -> None:
    models = client.get("/v1/models").json()
    assert [model["id"] for model in models["data"]] == ["lengths", "share"]
    assert client.get("/v1/models/share").json() == models["data"][1]
    missing = client.get("/v1/models/gpt-9")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "invalid_request_error")
    info = client.get("/info").json()
    assert info["model_id"] == "lengths"
    assert info["model_type"].keys() == {"embedding", "reranker"}
    assert info["max_input_length"] == 8
    assert client.get("/health").status_code == 200


def test_health_is_that_of_the_models(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FairQueue, "fault", lambda self: "it is stuck")
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["error_type"]) == (503, "Unhealthy")


def test_requests_are_counted_by_protocol() -> None:
    with TestClient(build_app(make_service())) as client:
        client.post("/rerank", json={"query": "x", "texts": ["a"]})
        for path in PATHS:
            client.post(path, json={"query": "x", "documents": ["a"]})
        text = client.get("/metrics").text
    for protocol, count in {"tei": 1, "cohere": 2, "weaviate": 1}.items():
        line = f'two_stage_rerank_requests_total{{protocol="{protocol}"}} {count}.0'
        assert line in text


def test_every_dialect_is_in_the_openapi(client: TestClient) -> None:
    described = json.loads(client.get("/openapi.json").text)["paths"]
    assert {*PATHS, "/embed", "/v1/embeddings", "/vectors", "/metrics"} <= described.keys()
