"""The one place that picks a store by the settings."""

from __future__ import annotations

from config import Settings
from search.errors import MissingExtra
from search.store import Store


def open_store(settings: Settings, *, create: bool = False) -> Store:
    """The store that the settings name; `create` to write to it, made if absent.

    Raises StoreError and its kinds, and ModelError when the embedding model cannot be loaded.
    """
    if settings.weaviate_url is not None:
        return _weaviate(settings, create)
    from search.embed import load_embedder
    from search.store.sqlite import SqliteStore

    return SqliteStore(
        settings.store,
        load_embedder(settings),
        alpha=settings.alpha,
        create=create,
        read_only=not create,
    )


def _weaviate(settings: Settings, create: bool) -> Store:
    from search.embed import load_embedder

    try:
        from search.store.weaviate.store import WeaviateStore
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "weaviate", "weaviate", "a Weaviate store") from None
    return WeaviateStore(settings, lambda: load_embedder(settings), create=create)
