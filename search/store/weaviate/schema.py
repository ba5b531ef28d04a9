"""The class that holds passages, as Weaviate's JSON; pure data, no client.

One object is one passage. What is embedded and searched by BM25 is `text`, exactly
`passage_input(title, passage)`: so the server's vectorizer and our own model read the same string.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from config import WeaviateSettings
from search.errors import StoreError
from search.types import EmbeddingInfo

VECTOR = "default"
NO_VECTORIZER = "none"
PREFERRED_VECTORIZER = "text2vec-transformers"
RERANKER = "reranker-transformers"

_NAMESPACE = uuid.UUID("5e1f7a52-6a3f-5d0c-9c59-2f2b7d1c8e41")
_DESCRIPTION = "Passages of a two-stage search. Embedding: "


def object_id(document_id: str, passage_index: int) -> uuid.UUID:
    """The same passage always has the same id, so that sending it twice stores it once."""
    return uuid.uuid5(_NAMESPACE, f"{passage_index}\n{document_id}")


def class_schema(
    settings: WeaviateSettings, vectorizer: str, embedding: EmbeddingInfo | None
) -> dict[str, Any]:
    """The class to make, with only what the settings ask for; the server fills in the rest."""
    schema: dict[str, Any] = {
        "class": settings.collection,
        "properties": _properties(settings, vectorizer),
        "vectorConfig": {VECTOR: _vector_config(settings, vectorizer)},
    }
    if embedding is not None:
        schema["description"] = _DESCRIPTION + json.dumps(asdict(embedding))
    if settings.replication_factor is not None:
        schema["replicationConfig"] = {"factor": settings.replication_factor}
    if settings.shards is not None:
        schema["shardingConfig"] = {"desiredCount": settings.shards}
    if settings.tenant is not None:
        schema["multiTenancyConfig"] = {"enabled": True, "autoTenantCreation": True}
    return schema


def reranking(modules: Iterable[str]) -> dict[str, Any]:
    """What lets others' queries to the class say `rerank`, where the server has the module.

    Our own search reranks here and never asks for it.
    """
    return {"moduleConfig": {RERANKER: {}}} if RERANKER in modules else {}


def embedding_of(description: str | None) -> EmbeddingInfo | None:
    """The embedding model that a class's description names."""
    if not description or not description.startswith(_DESCRIPTION):
        return None
    return EmbeddingInfo(**json.loads(description.removeprefix(_DESCRIPTION)))


def vectorizer_of(schema: Mapping[str, Any]) -> str:
    """The module that embeds for this class, or "none". Raises StoreError for a foreign class."""
    config = (schema.get("vectorConfig") or {}).get(VECTOR)
    if config is None:
        raise StoreError(
            f"class {schema['class']} has no vector named {VECTOR!r}: it is not one of ours; "
            "set weaviate.collection to another name"
        )
    return str(next(iter(config["vectorizer"])))


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """One line for each thing that was asked for and is otherwise in the class that is there."""
    there = _facts(found)
    return [
        f"{name} is {there.get(name)!r}, expected {value!r}"
        for name, value in _facts(wanted).items()
        if there.get(name) != value
    ]


def _properties(settings: WeaviateSettings, vectorizer: str) -> list[dict[str, Any]]:
    stored = {"indexFilterable": False, "indexSearchable": False}
    filtered = {"indexFilterable": True, "indexSearchable": False}
    searched = {"indexFilterable": False, "indexSearchable": True}
    properties: list[dict[str, Any]] = [
        {"name": "document_id", "dataType": ["text"], "tokenization": "field", **filtered},
        {"name": "passage_index", "dataType": ["int"], **filtered},
        {"name": "passage_count", "dataType": ["int"], **stored},
        {"name": "content_hash", "dataType": ["text"], "tokenization": "field", **stored},
        {"name": "title", "dataType": ["text"], "tokenization": "field", **stored},
        {"name": "text", "dataType": ["text"], "tokenization": settings.tokenization, **searched},
        {"name": "metadata", "dataType": ["text"], "tokenization": "field", **stored},
        {"name": "metadata_fields", "dataType": ["text[]"], "tokenization": "field", **filtered},
    ]
    if vectorizer != NO_VECTORIZER:
        for known in properties:
            skip = known["name"] != "text"
            known["moduleConfig"] = {vectorizer: {"skip": skip, "vectorizePropertyName": False}}
    return properties


def _vector_config(settings: WeaviateSettings, vectorizer: str) -> dict[str, Any]:
    module: dict[str, Any] = {}
    if vectorizer != NO_VECTORIZER:
        module = {"properties": ["text"], "vectorizeClassName": False}
        module |= settings.vectorizer_settings
    index: dict[str, Any] = {"distance": "cosine"} | settings.index_settings
    if settings.quantization is not None:
        index[settings.quantization] = {"enabled": True}
    return {
        "vectorizer": {vectorizer: module},
        "vectorIndexConfig": index,
        "vectorIndexType": settings.index,
    }


def _facts(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What can be compared of a class, by a name that a reader understands; None is left out."""
    facts: dict[str, Any] = {}
    for known in schema["properties"]:
        for key in ("dataType", "tokenization", "indexFilterable", "indexSearchable"):
            if known.get(key) is not None:
                facts[f"property {known['name']}: {key}"] = known[key]
    config = schema["vectorConfig"][VECTOR]
    ((module, settings),) = config["vectorizer"].items()
    facts["vectorizer"] = module
    facts |= {f"vectorizer: {key}": value for key, value in settings.items()}
    facts["index"] = config["vectorIndexType"]
    for key, value in config["vectorIndexConfig"].items():
        # The client reads back as distanceMetric what it sends as distance.
        facts[f"index: {'distance' if key == 'distanceMetric' else key}"] = (
            value.get("enabled") if isinstance(value, dict) else value
        )
    facts["replication factor"] = schema.get("replicationConfig", {}).get("factor")
    facts["shards"] = schema.get("shardingConfig", {}).get("desiredCount")
    facts["multi-tenant"] = schema.get("multiTenancyConfig", {}).get("enabled", False)
    return {name: value for name, value in facts.items() if value is not None}
