"""The class that holds passages, as Weaviate's JSON: its properties, and what it says of itself.

One object is one passage. `text` is what is embedded, exactly `passage_input(title, passage)`: so
the server's vectorizer and our own model read the same string. `words` is the same text as BM25
reads it: the words of the embedded store, so that every script is found. What filters compare is
in `metadata`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from weaviate.classes.config import DataType, Property, Tokenization

from config import WeaviateSettings
from search.store.weaviate.metadata import FIELDS, VALUES, missing_fields
from search.types import EmbeddingInfo

VECTOR = "default"
NO_VECTORIZER = "none"
PREFERRED_VECTORIZER = "text2vec-transformers"
RERANKER = "reranker-transformers"
WORDS = "words"

_NAMESPACE = uuid.UUID("5e1f7a52-6a3f-5d0c-9c59-2f2b7d1c8e41")
_DESCRIPTION = "Passages of a two-stage search. Embedding: "
_HINTS = {"multi-tenant": " (weaviate.tenant names one tenant of a class that has tenants)"}

_STORED = {"indexFilterable": False, "indexSearchable": False}
_FILTERED = {"indexFilterable": True, "indexSearchable": False}
_SEARCHED = {"indexFilterable": False, "indexSearchable": True}
# Came after classes were in use: an older class gets them when it is next written to.
_ADDED: list[dict[str, Any]] = [
    {"name": VALUES, "dataType": ["text[]"], "tokenization": "field", **_FILTERED},
    {"name": "source_file", "dataType": ["text"], "tokenization": "field", **_FILTERED},
    {"name": "source_line", "dataType": ["int"], **_STORED},
    {"name": "location", "dataType": ["text"], "tokenization": "field", **_STORED},
]
ADDED = {str(known["name"]) for known in _ADDED}


def object_id(document_id: str, passage_index: int) -> uuid.UUID:
    """The same passage always has the same id, so that sending it twice stores it once."""
    return uuid.uuid5(_NAMESPACE, f"{passage_index}\n{document_id}")


@dataclass(frozen=True, slots=True)
class Description:
    """What a class of ours says of its vectors: the model, and whether queries are embedded here
    although the server has a vectorizer (which embeds passages as we do, and queries otherwise).
    """

    embedding: EmbeddingInfo
    our_queries: bool = False

    def __str__(self) -> str:
        mark = {"our_queries": True} if self.our_queries else {}
        return _DESCRIPTION + json.dumps(asdict(self.embedding) | mark)


def class_schema(
    settings: WeaviateSettings, vectorizer: str, description: Description | None
) -> dict[str, Any]:
    """The class to make, with only what the settings ask for; the server fills in the rest."""
    schema: dict[str, Any] = {
        "class": settings.collection,
        "properties": _properties(settings, vectorizer),
        "vectorConfig": {VECTOR: _vector_config(settings, vectorizer)},
    }
    if description is not None:
        schema["description"] = str(description)
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


def description_of(text: str | None) -> Description | None:
    """What a class's description says; None: it is not a class of ours."""
    if not text or not text.startswith(_DESCRIPTION):
        return None
    stored = json.loads(text.removeprefix(_DESCRIPTION))
    known = {field.name for field in fields(EmbeddingInfo)}
    embedding = EmbeddingInfo(**{name: stored[name] for name in stored.keys() & known})
    return Description(embedding, bool(stored.get("our_queries")))


def vectorizer_of(schema: Mapping[str, Any]) -> str:
    """The module that embeds for a class of ours, or "none"."""
    return str(next(iter(schema["vectorConfig"][VECTOR]["vectorizer"])))


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """One line for each thing that was asked for and is otherwise in the class that is there.

    What an older class lacks only because it is older is no difference: it is added when it is
    written to, and BM25 goes on reading `text` where there is no `words`.
    """
    there, asked = _facts(found), _facts(wanted)
    names = {known["name"] for known in found["properties"]}
    older = {name for name in ADDED | {WORDS} if name not in names}
    if WORDS in older and f"property {WORDS}: dataType" in asked:
        older.add("text")
    return [
        f"{name} is {there.get(name)!r}, expected {value!r}{_HINTS.get(name, '')}"
        for name, value in asked.items()
        if there.get(name) != value and name.removeprefix("property ").split(":")[0] not in older
    ]


def missing_properties(wanted: Iterable[str], known: Collection[str]) -> list[Property]:
    """Definitions of what a class with the properties `known` lacks to take those `wanted`."""
    added = [_added_property(p) for p in _ADDED if p["name"] not in known]
    return added + missing_fields(wanted, known)


def _properties(settings: WeaviateSettings, vectorizer: str) -> list[dict[str, Any]]:
    ours = settings.tokenization == "auto"
    text_words = _STORED if ours else _SEARCHED | {"tokenization": settings.tokenization}
    properties: list[dict[str, Any]] = [
        {"name": "document_id", "dataType": ["text"], "tokenization": "field", **_FILTERED},
        {"name": "passage_index", "dataType": ["int"], **_FILTERED},
        {"name": "passage_count", "dataType": ["int"], **_STORED},
        {"name": "content_hash", "dataType": ["text"], "tokenization": "field", **_STORED},
        {"name": "title", "dataType": ["text"], "tokenization": "field", **_STORED},
        {"name": "text", "dataType": ["text"], "tokenization": "word", **text_words},
        {"name": "metadata", "dataType": ["text"], "tokenization": "field", **_STORED},
        {"name": FIELDS, "dataType": ["text[]"], "tokenization": "field", **_FILTERED},
        *(dict(known) for known in _ADDED),
    ]
    if ours:
        properties.append(
            {"name": WORDS, "dataType": ["text"], "tokenization": "whitespace", **_SEARCHED}
        )
    if vectorizer != NO_VECTORIZER:
        for known in properties:
            skip = known["name"] != "text"
            known["moduleConfig"] = {vectorizer: {"skip": skip, "vectorizePropertyName": False}}
    return properties


def _added_property(known: Mapping[str, Any]) -> Property:
    tokenization = known.get("tokenization")
    return Property(
        name=known["name"],
        data_type=DataType(known["dataType"][0]),
        tokenization=None if tokenization is None else Tokenization(tokenization),
        index_filterable=known["indexFilterable"],
        index_searchable=known["indexSearchable"],
        skip_vectorization=True,
    )


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
