"""The one place that picks a store by the settings."""

from __future__ import annotations

from config import Settings
from search.errors import MissingExtra
from search.store import Store


def open_store(settings: Settings, *, create: bool = False) -> Store:
    """The store that the settings name; `create` to write to it, made if absent.

    Raises StoreError and its kinds, ModelError when the embedding model cannot be loaded, and
    MissingExtra.
    """
    from search.embed import load_embedder

    if settings.weaviate_url is not None:
        try:
            from search.store.weaviate.store import WeaviateStore
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "weaviate", "weaviate", "weaviate_url") from None
        return WeaviateStore(settings, lambda: load_embedder(settings), create=create)
    from search.store.sqlite import SqliteStore

    return SqliteStore(
        settings.store,
        load_embedder(settings),
        alpha=settings.alpha,
        create=create,
    )
