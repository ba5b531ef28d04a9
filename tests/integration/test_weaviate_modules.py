"""The server's vectorizer: compared with our model for passages and queries; when it hangs."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from model_service import ModelService, model_service
from numpy.typing import NDArray
from store_support import HashedWords, random_entries
from weaviate_nodes import Killable, Server

import config
from search.errors import ModelMismatch, StoreUnavailable
from search.store.weaviate.store import WeaviateStore
from search.types import EmbeddingInfo

PREFIX = "query: "


class Prefixed(HashedWords):
    """A model that wants a word before each query, as some do."""

    @property
    def info(self) -> EmbeddingInfo:
        known = super().info
        return EmbeddingInfo(known.name, known.revision, known.dimensions, query_prefix=PREFIX)

    def encode_passages(self, texts: list[str]) -> NDArray[np.float32]:
        return np.stack([super(Prefixed, self).encode_query(text) for text in texts])

    def encode_query(self, text: str) -> NDArray[np.float32]:
        return super().encode_query(PREFIX + text)


@pytest.fixture
def service(own_weaviate: Killable) -> Iterator[ModelService]:
    server = own_weaviate.server
    assert server.service_port is not None
    with model_service(server.service_host, server.service_port) as service:
        yield service


def opened(
    server: Server, model: HashedWords, *, create: bool = True, **more: Any
) -> WeaviateStore:
    flags = server.flags | {f"weaviate.{name}": value for name, value in more.items()}
    return WeaviateStore(config.load(flags), lambda: model, create=create)


def request(server: Server, path: str, method: str, body: Any = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(
        f"{server.url}{path}", content, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(asked) as answer:
        return json.loads(answer.read() or "null")


def test_a_hung_model_service_is_named_and_bm25_works_without_it(
    own_weaviate: Killable, service: ModelService
) -> None:
    server = own_weaviate.server
    with closing(opened(server, HashedWords())) as store:
        assert store.put(random_entries(20)) == []
        expected = [c.document_id for c in store.retrieve("heart", 5, mode="bm25")]
    service.answers.clear()
    started = time.monotonic()
    quick = {"timeout_connect": 1, "timeout_query": 2}
    with closing(opened(server, HashedWords(), create=False, **quick)) as store:
        assert [c.document_id for c in store.retrieve("heart", 5, mode="bm25")] == expected
        assert store.describe().version == "Weaviate 1.39.0, vectorizer text2vec-transformers"
        assert time.monotonic() - started < 20
        with pytest.raises(StoreUnavailable, match=r"text2vec-transformers of it waits for its mo"):
            store.retrieve("heart", 5, mode="near_text")
    with pytest.raises(StoreUnavailable, match="waits for its model service, which is silent"):
        opened(server, HashedWords(), collection="Another", **quick)


def test_queries_are_embedded_here_where_the_server_embeds_them_otherwise(
    own_weaviate: Killable, service: ModelService
) -> None:
    with closing(opened(own_weaviate.server, Prefixed())) as store:
        assert store.put(random_entries(50)) == []
    with closing(opened(own_weaviate.server, Prefixed(), create=False)) as store:
        best = store.retrieve("heart diet", 50, mode="near_text")
    query = Prefixed().encode_query("heart diet")
    vectors = {
        (entry.document.id, i): float(
            query @ HashedWords().encode_query(f"{entry.document.title}\n{passage.text}")
        )
        for entry in random_entries(50)
        for i, passage in enumerate(entry.passages)
    }
    for one in best:
        expected = vectors[one.document_id, one.passage_index]
        assert one.score == pytest.approx(expected, abs=1e-5)
    service.query_prefix = PREFIX
    with closing(opened(own_weaviate.server, Prefixed(), collection="Same")) as store:
        assert store.put(random_entries(3)) == []
        assert not store._vectors.described.our_queries


def test_a_server_that_embeds_queries_otherwise_by_now_is_refused(
    own_weaviate: Killable, service: ModelService
) -> None:
    service.query_prefix = PREFIX
    with closing(opened(own_weaviate.server, Prefixed())) as store:
        assert store.put(random_entries(3)) == []
    service.query_prefix = ""
    with (
        closing(opened(own_weaviate.server, Prefixed())) as store,
        pytest.raises(ModelMismatch, match=r"embeds queries to class .*'query: '"),
    ):
        store.put(random_entries(3, seed=1))


@pytest.mark.usefixtures("service")
def test_the_class_of_a_probe_that_was_killed_goes_with_the_next(own_weaviate: Killable) -> None:
    server = own_weaviate.server
    made = f"Probe of a two-stage search, made at {time.time():.0f}"
    for name, description in (("dead0000", ""), ("dead0001", made[:-2]), ("live0000", made)):
        definition = {"class": f"Document_probe_{name}", "description": description}
        request(server, "/v1/schema", "POST", definition)
    with closing(opened(server, HashedWords())) as store:
        assert store.put(random_entries(2)) == []
    classes = {one["class"] for one in request(server, "/v1/schema", "GET")["classes"]}
    assert classes == {"Document", "Document_probe_live0000"}
