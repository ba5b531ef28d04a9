"""Stores of a real Weaviate for the tests, with the tests' embeddings and without a vectorizer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Protocol

from store_support import HashedWords
from weaviate_server import Server

import config
from search.store.weaviate.store import WeaviateStore


class Open(Protocol):
    """Opens a store of a class, with these settings of the `weaviate:` section."""

    def __call__(
        self, server: Server, collection: str, model: HashedWords | None = None, **settings: Any
    ) -> WeaviateStore: ...


@contextmanager
def opening() -> Iterator[Open]:
    """Closes what it opened at the end."""
    with ExitStack() as stack:

        def open_one(
            server: Server, collection: str, model: HashedWords | None = None, **settings: Any
        ) -> WeaviateStore:
            flags: dict[str, Any] = {"weaviate.vectorizer": "none"} | server.flags
            flags |= {f"weaviate.{name}": value for name, value in settings.items()}
            flags["weaviate.collection"] = collection
            store = WeaviateStore(config.load(flags), lambda: model or HashedWords(), create=True)
            return stack.enter_context(closing(store))

        yield open_one


def sound(opened: Open, server: Server, collection: str, documents: int) -> None:
    """The store, asked past any proxy, has all documents once and whole."""
    store = opened(server, collection)
    assert store.check() == []
    assert len(list(store.ids())) == len(set(store.ids())) == documents
    info = store.describe()
    assert (info.documents, info.passages) == (documents, 2 * documents)
