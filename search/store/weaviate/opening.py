"""Find or make the class, and settle who makes its vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from typing import Any

from weaviate import WeaviateClient
from weaviate.exceptions import UnexpectedStatusCodeError

from config import WeaviateSettings
from search.errors import ModelMismatch, StoreError, StoreMissing
from search.store import Embedder
from search.store.weaviate import schema
from search.store.weaviate.probing import Probe
from search.types import EmbeddingInfo


class Vectors:
    """Who embeds for one class: our model, or None where the server does it."""

    def __init__(self, probe: Probe, embedding: EmbeddingInfo, vectorizer: str) -> None:
        self.embedding = embedding
        self.vectorizer = vectorizer
        self._probe = probe
        if vectorizer == schema.NO_VECTORIZER:
            self._require(self._probe.ours.info.can_read(embedding))

    @property
    def of_queries(self) -> Embedder | None:
        return self._probe.ours if self.vectorizer == schema.NO_VECTORIZER else None

    @cached_property
    def of_passages(self) -> Embedder | None:
        """Settled when there is something to embed. Raises ModelMismatch."""
        if self.vectorizer == schema.NO_VECTORIZER:
            return self._probe.ours
        if self._probe.settings.vectors == "server":
            return None
        same = self._probe.same
        if self.embedding.name != self.vectorizer:
            # A run of our model filled the class, and the server's was the same then.
            self._require(not same or self._probe.ours.info.can_read(self.embedding))
            self._require_unchanged_server(same)
        return self._probe.ours if same else None

    def _require_unchanged_server(self, same: bool) -> None:
        if not same and self._probe.ours.info.can_read(self.embedding):
            raise ModelMismatch(
                f"{self._name} was filled by the embedding model {self.embedding.name!r}, and the "
                f"server's {self.vectorizer} now embeds otherwise: give it that model back, or "
                "name another class in weaviate.collection"
            )

    def _require(self, fits: bool) -> None:
        if fits:
            return
        ours, stored = asdict(self._probe.ours.info), asdict(self.embedding)
        differing = [name for name in stored if stored[name] != ours[name]]
        filled = ", ".join(f"{name} {stored[name]!r}" for name in differing)
        present = ", ".join(f"{name} {ours[name]!r}" for name in differing)
        raise ModelMismatch(
            f"{self._name} was filled by an embedding model with {filled}; this run has {present}. "
            "Vectors of the two cannot be compared: set embedding_model (and its prefixes) back, "
            "or name another class in weaviate.collection"
        )

    @property
    def _name(self) -> str:
        return f"class {self._probe.settings.collection} of the Weaviate at {self._probe.place}"


def open_class(
    client: WeaviateClient,
    place: str,
    settings: WeaviateSettings,
    load_embedder: Callable[[], Embedder],
    create: bool,
) -> Vectors:
    """Check the class that is there, or make it. Raises StoreMissing, ModelMismatch, StoreError."""
    exists = client.collections.exists(settings.collection)
    if not exists and not create:
        raise StoreMissing(
            f"Weaviate at {place} has no class {settings.collection!r} yet: run "
            "`python -m ingest PATH` first, or set weaviate.collection"
        )
    vectorizer = _vectorizer(client, settings, exists, place)
    probe = Probe(client, place, settings, vectorizer, load_embedder)
    if not exists:
        own = vectorizer == schema.NO_VECTORIZER
        embedding = probe.ours.info if own else probe.embedding
        definition = schema.class_schema(settings, vectorizer, embedding)
        _make(client, definition | schema.reranking(_modules(client)))
    return Vectors(probe, _check(client, place, settings, vectorizer), vectorizer)


def _vectorizer(
    client: WeaviateClient, settings: WeaviateSettings, exists: bool, place: str
) -> str:
    """The setting; `auto` is what the class has, or the best that the server offers a new one."""
    wanted = settings.vectorizer
    if wanted == "auto" and exists:
        return schema.vectorizer_of(client.collections.export_config(settings.collection).to_dict())
    modules = _modules(client)
    if wanted == "auto":
        preferred = schema.PREFERRED_VECTORIZER
        return preferred if preferred in modules else schema.NO_VECTORIZER
    if wanted != schema.NO_VECTORIZER and wanted not in modules:
        raise StoreError(
            f"Weaviate at {place} lacks the module {wanted!r} that weaviate.vectorizer names; "
            f"add it to the server's ENABLE_MODULES. It has: {', '.join(sorted(modules)) or 'none'}"
        )
    return wanted


def _modules(client: WeaviateClient) -> dict[str, Any]:
    return client.get_meta().get("modules") or {}


def _make(client: WeaviateClient, definition: dict[str, Any]) -> None:
    try:
        client.collections.create_from_dict(definition)
    except UnexpectedStatusCodeError:
        # Another process may have made it since we looked; the check that follows decides.
        if not client.collections.exists(definition["class"]):
            raise


def _check(
    client: WeaviateClient, place: str, settings: WeaviateSettings, vectorizer: str
) -> EmbeddingInfo:
    """The embedding model in the class's description; StoreError names what else differs."""
    config = client.collections.export_config(settings.collection)
    schema.vectorizer_of(found := config.to_dict())
    wrong = schema.differences(found, schema.class_schema(settings, vectorizer, None))
    stored = schema.embedding_of(config.description)
    if stored is None:
        wrong.append("its description names no embedding model")
    if wrong or stored is None:
        raise StoreError(
            f"class {settings.collection} of the Weaviate at {place} is there, but is not as set: "
            f"{'; '.join(wrong)}. It is left as it is: change these settings, or name another "
            "class in weaviate.collection"
        )
    return stored
