"""A real Weaviate whose vectorizer and reranker are our service."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

import pytest
import weaviate
from service_process import free_port, service_process
from store_support import HashedWords, entry
from weaviate.classes.query import MetadataQuery, Rerank
from weaviate_nodes import Server

import config
from search.embed import load_embedder
from search.errors import ModelMismatch, StoreUnavailable
from search.rerank import CrossEncoder
from search.store.open import open_store
from search.store.weaviate.store import WeaviateStore
from search.types import Entry

TEXTS = [
    "Regular exercise and a diet low in salt help to prevent heart disease.",
    "Complications after heart surgery include infection and bleeding.",
    "An inhaler relieves the wheezing of asthma.",
    "Cataracts cloud the lens of the eye.",
]
QUERY = "how can I keep my heart healthy"


@pytest.fixture(scope="module")
def service(weaviate_server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m search.serve` where this server's modules look for it."""
    port = weaviate_server.service_port
    if port is None:
        pytest.skip("this Weaviate's modules are not set to call a service of ours")
    at = f"{weaviate_server.service_host}:{port}"
    with service_process("--weaviate", at, port=free_port()) as process:
        yield process


def entries() -> list[Entry]:
    return [entry(f"d{i}", text, title=f"Title {i}", place=i) for i, text in enumerate(TEXTS)]


def opened(server: Server, collection: str, **settings: Any) -> WeaviateStore:
    flags = {f"weaviate.{name}": value for name, value in settings.items()}
    flags |= server.flags | {"weaviate.collection": collection}
    store = open_store(config.load(flags), create=True)
    assert isinstance(store, WeaviateStore)
    return store


@pytest.fixture
def client(weaviate_server: Server) -> Iterator[weaviate.WeaviateClient]:
    host, port = weaviate_server.rest
    with weaviate.connect_to_local(
        host, port, weaviate_server.grpc_port, skip_init_checks=True
    ) as client:
        yield client


@pytest.mark.usefixtures("service")
def test_import_without_vectors_then_near_text(
    weaviate_server: Server, collection: str, client: weaviate.WeaviateClient
) -> None:
    store = opened(weaviate_server, collection, vectors="server")
    assert store.put(entries()) == []
    assert store.retrieve(QUERY, 4, mode="near_text")[0].document_id == "d0"
    assert "d0" in {c.document_id for c in store.retrieve(QUERY, 2, mode="hybrid")}
    store.close()
    # The server's vectors are the ones that our model makes of the same text.
    embedder = load_embedder(config.load())
    for found in client.collections.use(collection).iterator(include_vector=True):
        ours = embedder.encode_passages([str(found.properties["text"])])[0]
        assert float(ours @ found.vector["default"]) == pytest.approx(1, abs=1e-3)


@pytest.mark.usefixtures("service")
def test_our_vectors_are_sent_where_the_model_is_the_same(
    weaviate_server: Server, collection: str
) -> None:
    store = opened(weaviate_server, collection)
    assert store.put(entries()) == []
    info = store.describe()
    assert info.embedding == load_embedder(config.load()).info
    assert info.version.endswith("vectorizer text2vec-transformers")
    assert store.retrieve(QUERY, 4, mode="near_text")[0].document_id == "d0"
    store.close()


@pytest.mark.usefixtures("service")
def test_another_model_of_ours_leaves_the_vectors_to_the_server(
    weaviate_server: Server, collection: str
) -> None:
    flags = weaviate_server.flags | {"weaviate.collection": collection}
    other = HashedWords()
    store = WeaviateStore(config.load(flags), lambda: other, create=True)
    asked = len(other.embedded)
    assert store.put(entries()) == []
    assert len(other.embedded) == asked
    assert store.describe().embedding is not None
    assert store.retrieve(QUERY, 1, mode="near_text")[0].document_id == "d0"
    store.close()
    insisting = config.load(flags | {"weaviate.vectors": "ours"})
    with closing(WeaviateStore(insisting, lambda: other, create=True)) as store:
        with pytest.raises(ModelMismatch, match="64 dimensions"):
            store.put(entries())
        assert store.describe().documents == len(TEXTS)


@pytest.mark.usefixtures("service")
def test_a_server_that_changed_its_model_is_refused(
    weaviate_server: Server, collection: str, client: weaviate.WeaviateClient
) -> None:
    """The class says that our model filled it, but the server embeds otherwise now."""
    store = opened(weaviate_server, collection)
    assert store.put(entries()) == []
    store.close()
    other = HashedWords()
    info = json.dumps(asdict(other.info))
    client.collections.use(collection).config.update(
        description=f"Passages of a two-stage search. Embedding: {info}"
    )
    settings = config.load(weaviate_server.flags | {"weaviate.collection": collection})
    with (
        closing(WeaviateStore(settings, lambda: other, create=True)) as store,
        pytest.raises(ModelMismatch, match="now embeds otherwise: give it that model back"),
    ):
        store.put(entries())
    # And the other way about: our model is the server's, but another one filled the class.
    with (
        closing(open_store(settings, create=True)) as store,
        pytest.raises(ModelMismatch, match=r"'hashed-words'.*'all-MiniLM-L6-v2'"),
    ):
        store.put(entries())


@pytest.mark.usefixtures("service")
def test_rerank_in_a_query_gives_our_probabilities(
    weaviate_server: Server, collection: str, client: weaviate.WeaviateClient
) -> None:
    texts = [f"{text} Case {i}." for i in range(10) for text in TEXTS]  # more than one request
    with closing(opened(weaviate_server, collection)) as store:
        assert store.put([entry(f"d{i}", text, place=i) for i, text in enumerate(texts)]) == []
        assert store.describe().passages == 40  # waits until the server has indexed them
    found = client.collections.use(collection).query.near_text(
        QUERY,
        limit=40,
        rerank=Rerank(prop="text", query=QUERY),
        return_metadata=MetadataQuery(score=True),
    )
    scores = [one.metadata.rerank_score for one in found.objects]
    assert len(scores) == 40
    ours = CrossEncoder.load(config.load(environment=os.environ))
    expected = ours.score(QUERY, [str(o.properties["text"]) for o in found.objects])
    assert scores == pytest.approx(expected, abs=5e-3)
    assert scores == sorted(scores, reverse=True)


@pytest.mark.usefixtures("service")
def test_the_server_reads_what_runs_here(weaviate_server: Server) -> None:
    with urllib.request.urlopen(f"{weaviate_server.url}/v1/meta") as answer:
        modules = json.load(answer)["modules"]
    assert modules["text2vec-transformers"]["embedding"]["dimensions"] == 384


def test_without_the_service_the_error_names_it(
    weaviate_server: Server,
    service: subprocess.Popen[bytes],
    collection: str,
    drop_collection: Callable[[str], None],
) -> None:
    """Last in this file: it stops the service."""
    store = opened(weaviate_server, collection, vectors="server")
    service.terminate()
    service.wait(30)
    with pytest.raises(StoreUnavailable, match=r"cannot reach its vectorizer .*search\.serve"):
        store.put(entries())
    assert list(store.ids()) == []
    with pytest.raises(StoreUnavailable, match="cannot reach its vectorizer"):
        store.retrieve(QUERY, 3)
    store.close()
    with pytest.raises(StoreUnavailable, match="cannot reach its vectorizer"):
        opened(weaviate_server, "Probe" + collection)
