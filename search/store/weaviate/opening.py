"""Find or make the class, and settle who makes its vectors."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from weaviate import WeaviateClient
from weaviate.classes.data import DataObject
from weaviate.exceptions import UnexpectedStatusCodeError, WeaviateInsertManyAllFailedError

from config import WeaviateSettings
from search.errors import ModelMismatch, StoreError, StoreMissing
from search.store.weaviate import schema
from search.store.weaviate.faults import blamed_on_server, short
from search.store.writing import Embedder
from search.types import EmbeddingInfo

# Two precisions of one model differ by about 1e-4; two models are nowhere near.
SAME_MODEL = 0.999
# Long enough to show another pooling or shorter input, within 256 tokens of any common model.
PROBE = " ".join(f"Sentence {i} asks how people prevent heart disease." for i in range(1, 19))


@dataclass(frozen=True, slots=True)
class Vectors:
    """Who embeds: each is our own model, or None where the server does it."""

    of_passages: Embedder | None
    of_queries: Embedder | None
    embedding: EmbeddingInfo | None
    vectorizer: str


def open_class(
    client: WeaviateClient,
    place: str,
    settings: WeaviateSettings,
    load_embedder: Callable[[], Embedder],
    create: bool,
) -> Vectors:
    """Check the class that is there, or make it. Raises StoreMissing, ModelMismatch, StoreError."""
    name = settings.collection
    exists = client.collections.exists(name)
    if not exists and not create:
        raise StoreMissing(
            f"Weaviate at {place} has no class {name!r} yet: run `python -m ingest PATH` first, "
            "or set weaviate.collection"
        )
    vectorizer = _vectorizer(client, settings, exists, place)
    embedder = load_embedder() if create or vectorizer == schema.NO_VECTORIZER else None
    same, probed = True, embedder.info if embedder else None
    if create and embedder and vectorizer != schema.NO_VECTORIZER:
        same, probed = _probe(client, place, settings, vectorizer, embedder)
    if not exists:
        _make(client, schema.class_schema(settings, vectorizer, probed))
    stored = _check(client, place, settings, vectorizer)
    if embedder:
        _require_same_model(place, name, stored, embedder.info, same, vectorizer)
    ours = same and not (settings.vectors == "server" and vectorizer != schema.NO_VECTORIZER)
    return Vectors(
        of_passages=embedder if ours else None,
        of_queries=embedder if vectorizer == schema.NO_VECTORIZER else None,
        embedding=stored,
        vectorizer=vectorizer,
    )


def _vectorizer(
    client: WeaviateClient, settings: WeaviateSettings, exists: bool, place: str
) -> str:
    """The setting; `auto` is what the class has, or the best that the server offers a new one."""
    wanted = settings.vectorizer
    if wanted == "auto" and exists:
        return schema.vectorizer_of(client.collections.export_config(settings.collection).to_dict())
    modules = client.get_meta().get("modules") or {}
    if wanted == "auto":
        preferred = schema.PREFERRED_VECTORIZER
        return preferred if preferred in modules else schema.NO_VECTORIZER
    if wanted != schema.NO_VECTORIZER and wanted not in modules:
        raise StoreError(
            f"Weaviate at {place} lacks the module {wanted!r} that weaviate.vectorizer names; "
            f"add it to the server's ENABLE_MODULES. It has: {', '.join(sorted(modules)) or 'none'}"
        )
    return wanted


def _make(client: WeaviateClient, definition: dict[str, Any]) -> None:
    try:
        client.collections.create_from_dict(definition)
    except UnexpectedStatusCodeError:
        # Another process may have made it since we looked; the check that follows decides.
        if not client.collections.exists(definition["class"]):
            raise


def _check(
    client: WeaviateClient, place: str, settings: WeaviateSettings, vectorizer: str
) -> EmbeddingInfo | None:
    """The embedding model in the class's description; StoreError names what else differs."""
    config = client.collections.export_config(settings.collection)
    schema.vectorizer_of(found := config.to_dict())
    wrong = schema.differences(found, schema.class_schema(settings, vectorizer, None))
    stored = schema.embedding_of(config.description)
    if stored is None:
        wrong.append("its description names no embedding model")
    if wrong:
        raise StoreError(
            f"class {settings.collection} of the Weaviate at {place} is there, but is not as set: "
            f"{'; '.join(wrong)}. It is left as it is: change these settings, or name another "
            "class in weaviate.collection"
        )
    return stored


def _require_same_model(
    place: str,
    name: str,
    stored: EmbeddingInfo | None,
    ours: EmbeddingInfo,
    same: bool,
    vectorizer: str,
) -> None:
    """Refuse vectors, and queries, of another model than the one that filled the class."""
    by_server = stored is not None and stored.name == vectorizer
    if (stored == ours and same) or by_server or (not same and stored != ours):
        return
    if not same:
        raise ModelMismatch(
            f"class {name} at {place} was filled by the embedding model {ours.name!r}, and the "
            f"server's {vectorizer} now embeds otherwise: give it that model back, or name "
            "another class in weaviate.collection"
        )
    told = asdict(stored) if stored else {}
    differing = [key for key, value in asdict(ours).items() if told.get(key) != value]
    filled = ", ".join(f"{key} {told.get(key)!r}" for key in differing)
    present = ", ".join(f"{key} {asdict(ours)[key]!r}" for key in differing)
    raise ModelMismatch(
        f"class {name} at {place} was filled by an embedding model with {filled}; this run has "
        f"{present}. Vectors of the two cannot be compared: set embedding_model (and its prefixes) "
        "back, or name another class in weaviate.collection"
    )


def _probe(
    client: WeaviateClient,
    place: str,
    settings: WeaviateSettings,
    vectorizer: str,
    embedder: Embedder,
) -> tuple[bool, EmbeddingInfo]:
    """Whether the server's vector of a text is ours, and what to call the one that it makes.

    Asked through a class of its own, made and deleted, so that no passage of the user's is touched.
    """
    theirs = _server_vector(client, place, settings, vectorizer)
    ours = embedder.encode_passages([PROBE])[0]
    similarity = 0.0
    if theirs.shape == ours.shape:
        similarity = float(theirs @ ours / np.linalg.norm(theirs) / np.linalg.norm(ours))
    if similarity >= SAME_MODEL:
        return True, embedder.info
    if settings.vectors == "ours":
        raise ModelMismatch(
            f"weaviate.vectors is 'ours', but the {vectorizer} of the Weaviate at {place} embeds "
            f"unlike {embedder.info.name!r} (cosine {similarity:.4f}, expected {SAME_MODEL}; "
            f"{theirs.size} and {ours.size} dimensions): give both the same model, or set "
            "weaviate.vectors to server"
        )
    return False, EmbeddingInfo(vectorizer, "", theirs.size)


def _server_vector(
    client: WeaviateClient, place: str, settings: WeaviateSettings, vectorizer: str
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(dimensions,) The server's vector of PROBE."""
    name = f"{settings.collection}_probe_{uuid.uuid4().hex[:8]}"
    plain = settings.model_copy(
        update={"collection": name, "tenant": None, "shards": None, "replication_factor": None}
    )
    client.collections.create_from_dict(schema.class_schema(plain, vectorizer, None))
    try:
        probe = client.collections.use(name)
        identity = uuid.uuid4()
        one: DataObject[dict[str, Any], None] = DataObject({"text": PROBE}, uuid=identity)
        probe.data.insert_many([one])
        found = probe.query.fetch_object_by_id(identity, include_vector=True)
        return np.asarray(found.vector[schema.VECTOR], dtype=np.float64)
    except WeaviateInsertManyAllFailedError as error:
        reason = short(error.message)
        raise blamed_on_server(reason, place) or StoreError(
            f"the {vectorizer} of the Weaviate at {place} cannot embed: {reason}"
        ) from error
    finally:
        client.collections.delete(name)
