"""The embedding protocols that clients already speak, over stand-in models."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from dialect_calls import post
from serve_fakes import make_service
from starlette.testclient import TestClient

from search.serve.app import build_app


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(build_app(make_service()), raise_server_exceptions=False) as client:
        yield client


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
