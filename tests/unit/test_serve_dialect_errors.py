"""Errors of the dialects: each in the shape that its clients read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dialect_calls import PATHS, QUERY
from serve_fakes import make_service
from starlette.testclient import TestClient

from search.errors import Overloaded
from search.serve.app import build_app
from search.serve.queue import FairQueue


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(build_app(make_service()), raise_server_exceptions=False) as client:
        yield client


COHERE = {"model": "m", "query": QUERY}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/rerank", COHERE, 400, "documents: Field required"),
        ("/v1/rerank", COHERE | {"documents": []}, 400, "documents: List should have at least 1"),
        ("/rerank", COHERE | {"documents": []}, 400, "documents: List should have at least 1"),
        ("/v1/rerank", COHERE | {"documents": ["a", 7]}, 400, "documents.1: expected a string, or"),
        ("/v1/rerank", COHERE | {"documents": ["a", None]}, 400, "documents.1: expected a string"),
        ("/v1/rerank", COHERE | {"documents": [{"url": "x"}]}, 400, "documents[0] has the fields"),
        ("/rerank", COHERE | {"documents": [{"url": "x"}]}, 400, "documents[0] has the fields"),
        ("/v1/rerank", COHERE | {"documents": [{}]}, 400, "(none); expected text"),
        (
            "/v1/rerank",
            COHERE | {"documents": [{"text": None, "url": "x"}]},
            400,
            "the fields text (null), url; expected text",
        ),
        (
            "/v1/rerank",
            COHERE | {"documents": [{"text": {"a": 1}}]},
            400,
            "expected text, a finite",
        ),
        ("/v1/rerank", COHERE | {"documents": ["a"], "top_n": -1}, 400, "top_n: Input should be"),
        ("/v2/rerank", COHERE | {"documents": ["a"], "top_n": 0}, 400, "top_n is 0; expected"),
        ("/v2/rerank", {"query": " ", "documents": ["a"]}, 400, "the query is empty"),
        ("/v2/rerank", {"query": "x" * 101, "documents": ["a"]}, 400, "too long"),
        ("/v2/rerank", {"query": "x", "documents": ["nan"]}, 500, "not a number"),
    ],
)
def test_errors_for_the_clients_of_cohere_jina_and_vllm(
    client: TestClient, path: str, body: Any, status: int, said: str
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == status
    found = answer.json()
    assert said in found["message"]
    assert found["message"] == found["detail"] == found["error"]["message"]
    assert found["error"]["code"] == status


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "said"),
    [
        ("/rerank", {"query": "x", "texts": []}, 422, "Validation", "texts: List should have"),
        ("/rerank", {"texts": ["a"]}, 422, "Validation", "query: Field required"),
        ("/rerank", {"query": "", "texts": ["a"]}, 422, "Validation", "the query is empty"),
        ("/rerank", {"query": "x", "texts": ["nan"]}, 424, "Backend", "not a number"),
        ("/embed", {"inputs": []}, 422, "Validation", "at least 1 item"),
        ("/embed", {"inputs": [1]}, 422, "Validation", "inputs.list.0: Input should be a valid s"),
        ("/embed", {"inputs": {}}, 422, "Validation", "inputs: expected a string, or a list of"),
        ("/embed", {"inputs": "a", "dimensions": 3}, 422, "Validation", "this model's vectors"),
        ("/embed", {"inputs": "a", "normalize": False}, 422, "Validation", "normalize"),
        ("/embed", {"inputs": ["a", "w " * 9], "truncate": False}, 422, "Validation", "inputs[1]"),
    ],
)
def test_errors_for_the_clients_of_tei(
    client: TestClient, path: str, body: Any, status: int, kind: str, said: str
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == status
    assert answer.json()["error_type"] == kind
    assert said in answer.json()["error"]
    assert "function-before" not in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "input: Field required"),
        ({"input": ""}, "input.text: "),
        ({"input": []}, "input.list: List should have at least 1"),
        ({"input": ["a", ""]}, "input.list.1: "),
        ({"input": ["a"] * 2049}, "at most 2048"),
        ({"input": [101, 102]}, "check_embedding_ctx_length=False"),
        ({"input": [[101], [102]]}, "check_embedding_ctx_length=False"),
        ({"input": [{"text": "hi"}]}, "input.list.0: Input should be a valid string"),
        ({"input": "a", "dimensions": 1}, "this model's vectors have 2"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "input_type": "poem"}, "'poem'; expected one of query"),
    ],
)
def test_errors_for_the_clients_of_openai(client: TestClient, body: Any, said: str) -> None:
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert said in error["message"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", [*PATHS, "/v1/embeddings", "/embed"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"query": "x", "documents": [{"text": "a", "b": NaN}], "return_documents": true}',
        b'{"query": "x", "documents": ["a"], "top_n": 1e400}',
        b'{"query": "x", "documents": [{"text": ' + b"[" * 900 + b"]" * 900 + b"}]}",
    ],
    ids=range(9),
)
def test_no_body_is_the_services_fault(client: TestClient, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    answer.json()


def test_without_a_reranker_each_protocol_says_so_in_its_way() -> None:
    with TestClient(build_app(make_service(reranker=False))) as client:
        weaviate = client.post("/rerank", json={"query": "x", "documents": ["a"]})
        tei = client.post("/rerank", json={"query": "x", "texts": ["a"]})
        cohere = client.post("/v2/rerank", json=COHERE | {"documents": ["a"]})
        assert [weaviate.status_code, tei.status_code, cohere.status_code] == [501, 424, 404]
        said = [weaviate.json()["error"], tei.json()["error"], cohere.json()["message"]]
        assert all("without a reranker" in reason for reason in said)
        assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["lengths"]
        assert client.get("/info").json()["model_type"] == {"embedding": {"pooling": "mean"}}


def test_overload_is_429_everywhere(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise Overloaded(3)

    monkeypatch.setattr(FairQueue, "submit", full)
    rerank = {"query": "x", "documents": ["a"]}
    answers = [
        client.post("/rerank", json=rerank),
        client.post("/v1/rerank", json=rerank),
        client.post("/rerank", json={"query": "x", "texts": ["a"]}),
        client.post("/v1/embeddings", json={"input": "a"}),
        client.post("/embed", json={"inputs": "a"}),
    ]
    assert [answer.status_code for answer in answers] == [429] * 5
    assert [answer.headers["retry-after"] for answer in answers] == ["3"] * 5
    assert answers[2].json()["error_type"] == "Overloaded"
    assert answers[3].json()["error"]["type"] == "rate_limit_error"


def test_too_much_in_one_request_is_413_everywhere() -> None:
    limits: dict[str, Any] = {"serve.max_texts": 2, "serve.max_characters": 50}
    with TestClient(build_app(make_service(**limits))) as client:
        for texts, said in ((["a", "b", "c"], "3 texts"), (["x" * 51], "51 characters")):
            answers = [
                client.post("/rerank", json={"query": "x", "documents": texts}),
                client.post("/rerank", json={"query": "x", "texts": texts}),
                client.post("/v1/rerank", json={"query": "x", "documents": texts}),
                client.post("/v2/rerank", json={"query": "x", "documents": texts}),
                client.post("/v1/embeddings", json={"input": texts}),
                client.post("/embed", json={"inputs": texts, "truncate": False}),
                client.post("/v2/embed", json={"texts": texts, "truncate": "NONE"}),
            ]
            assert [answer.status_code for answer in answers] == [413] * 7
            assert all(said in answer.text for answer in answers)
        client.post("/v1/rerank", json={"query": "x"})
        text = client.get("/metrics").text
    assert 'two_stage_rejected_total{reason="too large"} 14.0' in text
    assert 'two_stage_rejected_total{reason="invalid"} 1.0' in text
    assert 'two_stage_requests_total{route="/v1/rerank",status="400"} 1.0' in text


def test_a_key_that_is_missing_is_said_in_the_shape_of_the_path() -> None:
    settings: dict[str, Any] = {"serve.keys": {"team": "read k" + "0" * 40}}
    with TestClient(build_app(make_service(**settings))) as client:
        answers = [client.post(path) for path in ("/v1/rerank", "/v1/embeddings", "/embed")]
        assert [answer.status_code for answer in answers] == [401] * 3
        assert "wants a key" in answers[0].json()["message"]
        assert answers[1].json()["error"]["type"] == "authentication_error"
        assert "wants a key" in answers[2].json()["error"]
        assert client.get("/metrics").status_code == 401
        with_key = {"authorization": "Bearer k" + "0" * 40}
        assert client.get("/metrics", headers=with_key).status_code == 200
