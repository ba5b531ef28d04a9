"""The rerank and embedding protocols that clients already speak, over stand-in models."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from serve_fakes import make_service
from starlette.testclient import TestClient

from search.errors import Overloaded
from search.serve import dialects
from search.serve.app import build_app
from search.serve.models import MAX_CHARACTERS
from search.serve.queue import FairQueue

QUERY = "prevent heart disease"
TEXTS = ["no match", "prevent heart disease", "heart", "heart"]
PATHS = ["/rerank", "/v1/rerank", "/v2/rerank"]


def probability(share: float) -> float:
    return 1 / (1 + math.exp(-(1 + 2 * share)))


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(build_app(make_service()), raise_server_exceptions=False) as client:
        yield client


def post(client: TestClient, path: str, **body: Any) -> Any:
    """The answer, which must be a success."""
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ranked(client: TestClient, path: str = "/v1/rerank", **body: Any) -> Any:
    return post(client, path, **({"model": "m", "query": QUERY, "documents": TEXTS} | body))


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
        ("/embed", {"inputs": [1, 2]}, 422, "Validation", "valid string"),
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


def test_embeddings_as_numbers_and_as_base64(client: TestClient) -> None:
    body = post(client, "/v1/embeddings", model="ada", input=["heart", "a b c"])
    assert body["object"] == "list"
    assert body["model"] == "lengths"
    assert [one["embedding"] for one in body["data"]] == [[5.0, 1.0], [5.0, 1.0]]
    assert [one["index"] for one in body["data"]] == [0, 1]
    assert body["usage"] == {"prompt_tokens": 6, "total_tokens": 6}  # 1 + 3 words, 2 × special
    encoded = post(client, "/v1/embeddings", input="heart", encoding_format="base64", dimensions=2)
    decoded = np.frombuffer(base64.b64decode(encoded["data"][0]["embedding"]), "<f4")
    assert decoded.tolist() == [5.0, 1.0]


def test_a_query_is_embedded_as_one_where_the_protocol_can_say_so(client: TestClient) -> None:
    for extra in ({"input_type": "query"}, {"task": "retrieval.query"}):
        body = post(client, "/v1/embeddings", input="heart", **extra)
        assert body["data"][0]["embedding"] == [5.0, 0.0]
    assert post(client, "/embed", inputs="heart", prompt_name="query") == [[5.0, 0.0]]
    assert post(client, "/embed", inputs=["heart"], prompt_name="document") == [[5.0, 1.0]]
    assert post(client, "/embed", inputs=["heart", ""]) == [[5.0, 1.0], [0.0, 1.0]]


def test_cohere_embeds_queries_and_passages_as_numbers_and_as_base64(client: TestClient) -> None:
    texts = ["heart", "a b"]
    first = post(client, "/v1/embed", texts=texts, model="m", input_type="search_query")
    assert first["response_type"] == "embeddings_floats"
    assert first["embeddings"] == [[5.0, 0.0], [3.0, 0.0]]
    assert first["texts"] == texts
    assert first["meta"]["tokens"] == {"input_tokens": 5}
    assert "'lengths' is what this service runs" in first["meta"]["warnings"][0]
    typed = post(client, "/v1/embed", texts=texts, embedding_types=["float"])
    assert typed["embeddings"] == {"float": [[5.0, 1.0], [3.0, 1.0]]}
    second = post(client, "/v2/embed", texts=["heart"], embedding_types=["base64", "float"])
    assert second["embeddings"]["float"] == [[5.0, 1.0]]
    decoded = np.frombuffer(base64.b64decode(second["embeddings"]["base64"][0]), "<f4")
    assert decoded.tolist() == [5.0, 1.0]
    assert post(client, "/v2/embed", texts=["heart"])["embeddings"] == {"float": [[5.0, 1.0]]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"texts": []}, "texts: List should have at least 1"),
        ({"texts": ["a"], "input_type": "image"}, "input_type"),
        ({"texts": ["a"], "embedding_types": ["int8"]}, "embedding_types.0"),
        ({"texts": ["a"], "output_dimension": 1}, "vectors have 2"),
        ({"texts": ["a", "w " * 9], "truncate": "NONE"}, "texts[1] has 9 tokens"),
        ({"texts": ["a"], "truncate": "START"}, "truncate"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/embed", "/v2/embed"])
def test_what_cohere_may_not_ask_of_embeddings(
    client: TestClient, path: str, body: Any, said: str
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert said in answer.json()["message"]


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
