"""Which of the two stores the settings name is decided here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from config import Settings
from search.errors import MissingExtra
from search.store import Embedder, Store
from search.types import EmbeddingInfo

# Passages between two reports: a full batch of the model, some seconds on a slow machine.
REPORTED_AT_ONCE = 64


def open_store(
    settings: Settings,
    *,
    create: bool = False,
    embedder: Embedder | None = None,
    on_embedded: Callable[[int], None] | None = None,
) -> Store:
    """The store that the settings name; `create` to write to it, made if absent.

    `embedder` is the settings' embedding model, where it is loaded already. `on_embedded` is called
    while documents are put, with the number of passages just embedded. Raises StoreError and its
    kinds, ModelError when the embedding model cannot be loaded, and MissingExtra.
    """
    from search.embed import load_embedder

    def loaded() -> Embedder:
        model = embedder or load_embedder(settings)
        return model if on_embedded is None else _Reporting(model, on_embedded)

    if settings.weaviate_url is not None:
        return _open_weaviate(settings, settings.weaviate_url, loaded, create)
    from search.store.sqlite import SqliteStore

    return SqliteStore(
        settings.store,
        loaded(),
        alpha=settings.alpha,
        language=settings.language,
        create=create,
    )


def _open_weaviate(
    settings: Settings, url: str, load_embedder: Callable[[], Embedder], create: bool
) -> Store:
    """On a class of ours, there or yet to be made, or on one that others made."""
    try:
        from search.store.weaviate.classes import definition_of, is_ours, read_only
        from search.store.weaviate.foreign.store import ForeignStore
        from search.store.weaviate.server import connect
        from search.store.weaviate.store import WeaviateStore
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "weaviate", "weaviate", "weaviate_url") from None
    server = connect(url, settings.weaviate, patient=create)
    try:
        definition = definition_of(server, settings.weaviate.collection)
        if definition is None or is_ours(definition):
            return WeaviateStore(settings, load_embedder, create=create, server=server)
        if create:
            raise read_only(server.url, str(definition["class"]))
        return ForeignStore(server, settings, definition, load_embedder)
    except BaseException:
        server.close()
        raise


class _Reporting:
    """An embedding model that reports its progress."""

    def __init__(self, model: Embedder, on_embedded: Callable[[int], None]) -> None:
        self._model = model
        self._on_embedded = on_embedded

    @property
    def info(self) -> EmbeddingInfo:
        return self._model.info

    def encode_passages(self, texts: list[str]) -> NDArray[np.float32]:
        """In slices of texts that are about equally long, so that none waits for a long one."""
        vectors = np.empty((len(texts), self.info.dimensions), np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(texts), REPORTED_AT_ONCE):
            part = by_length[start : start + REPORTED_AT_ONCE]
            vectors[part] = self._model.encode_passages([texts[i] for i in part])
            self._on_embedded(len(part))
        return vectors

    def encode_query(self, text: str) -> NDArray[np.float32]:
        return self._model.encode_query(text)

    def unreadable(self, text: str) -> str | None:
        return self._model.unreadable(text)

    def unread_tokens(self, query: str) -> int:
        return self._model.unread_tokens(query)
