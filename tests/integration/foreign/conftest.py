"""One Weaviate for the tests of classes that others made, and the store on such a class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any
from uuid import uuid4

import pytest
import weaviate
from foreign_classes import Open, settings_of
from model_service import model_service
from store_support import HashedWords
from weaviate_nodes import Server
from weaviate_server import Missing, killable

from search.store import Embedder, Store
from search.store.open import open_store

MODULES = "text2vec-transformers,reranker-transformers,text2vec-openai,ref2vec-centroid"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of our own for the tests of a file, whose vectorizer is the tests' HashedWords."""
    with ExitStack() as stack:
        try:
            make = stack.enter_context(killable(tmp_path_factory.mktemp("foreign")))
        except Missing as reason:
            pytest.skip(f"this test starts a server with modules: {reason}")
        # Indexed at once, so that a test finds what it has just stored.
        one = make({"ENABLE_MODULES": MODULES, "ASYNC_INDEXING": "false"})
        one.start()
        one.wait()
        assert one.server.service_port is not None
        stack.enter_context(model_service(one.server.service_host, one.server.service_port))
        yield one.server


@pytest.fixture(scope="module")
def others(server: Server) -> Iterator[weaviate.WeaviateClient]:
    """The plain client, with which others made their classes."""
    with weaviate.connect_to_local(
        *server.rest, grpc_port=server.grpc_port, skip_init_checks=True
    ) as client:
        yield client


@pytest.fixture
def name(others: weaviate.WeaviateClient) -> Iterator[str]:
    """The name of a class for one test, deleted after it."""
    name = f"Others{uuid4().hex[:12]}"
    yield name
    others.collections.delete(name)


@pytest.fixture
def opened(server: Server, name: str) -> Iterator[Open]:
    """The store on the test's class; `open_store` decides which kind it is."""
    with ExitStack() as stack:

        def open_(embedder: Embedder | None = None, create: bool = False, **options: Any) -> Store:
            store = open_store(
                settings_of(server, name, **options),
                create=create,
                embedder=embedder or HashedWords(),
            )
            return stack.enter_context(closing(store))

        yield open_
