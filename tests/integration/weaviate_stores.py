"""Stores of a real Weaviate for the tests, and how much of them the server finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import weaviate
from store_support import HashedWords
from weaviate_nodes import Server

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


@dataclass(frozen=True)
class Lookups:
    """How many passages are there, and how many are found by their own vectors and own words."""

    passages: int
    by_vector: int
    by_words: int

    def __str__(self) -> str:
        return f"{self.passages} / {self.by_vector} / {self.by_words}"


def lookups(server: Server, collection: str = "Document") -> Lookups:
    """Asked with the plain client, whatever the project's own code makes of it.

    The last word of each passage has to be in no other.
    """
    with weaviate.connect_to_local(
        *server.rest, grpc_port=server.grpc_port, skip_init_checks=True
    ) as client:
        objects = client.collections.use(collection)
        searched = (
            "words" if "words" in {p.name for p in objects.config.get().properties} else "text"
        )
        passages = by_vector = by_words = 0
        for one in objects.iterator(include_vector=True):
            passages += 1
            near = objects.query.near_vector(
                one.vector["default"], target_vector="default", limit=10, return_properties=[]
            )
            by_vector += any(other.uuid == one.uuid for other in near.objects)
            own = str(one.properties["text"]).split()[-1].strip(".")
            words = objects.query.bm25(own, query_properties=[searched], limit=3)
            by_words += any(other.uuid == one.uuid for other in words.objects)
    return Lookups(passages, by_vector, by_words)
