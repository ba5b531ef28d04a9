"""Documents as objects, one for each passage, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from weaviate.classes.data import DataObject

from search.store.weaviate.metadata import properties_of
from search.store.weaviate.schema import VECTOR, object_id
from search.store.weaviate.sending import Object
from search.types import Candidate, Entry, Value, passage_input

# What a search brings back, and what tells whether a document is stored whole.
CANDIDATE = ["document_id", "passage_index", "title", "text", "metadata"]
VERSION = ["document_id", "passage_index", "passage_count", "content_hash"]


class Found(Protocol):
    """The part of the client's objects that is read here."""

    @property
    def properties(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of its document a passage belongs to."""

    content_hash: str
    passage_count: int


Versions = dict[int, Version]
"""The passages of one document that the server has, by index."""


def whole(stored: Versions) -> str | None:
    """The content hash of a document all of whose passages are there, of one version, else None."""
    versions = set(stored.values())
    if len(versions) != 1:
        return None
    (version,) = versions
    complete = set(stored) == set(range(version.passage_count))
    return version.content_hash if complete else None


def objects_of(entry: Entry, vectors: Sequence[npt.NDArray[np.float32]] | None) -> list[Object]:
    """One object for each passage; without `vectors` the server makes them."""
    document = entry.document
    shared = properties_of(document.metadata) | {
        "document_id": document.id,
        "passage_count": len(entry.passages),
        "content_hash": entry.content_hash,
        "title": document.title,
        "metadata": json.dumps(dict(document.metadata), ensure_ascii=False, allow_nan=False),
    }
    return [
        DataObject(
            uuid=object_id(document.id, index),
            properties=shared
            | {"passage_index": index, "text": passage_input(document.title, passage.text)},
            vector=None if vectors is None else {VECTOR: vectors[index].tolist()},
        )
        for index, passage in enumerate(entry.passages)
    ]


def candidate_of(found: Found, score: float, rank: int) -> Candidate:
    """A search's result in the project's words."""
    properties = found.properties
    title, text = properties["title"], properties["text"]
    return Candidate(
        document_id=properties["document_id"],
        passage_index=int(properties["passage_index"]),
        title=title,
        passage=text.removeprefix(passage_input(title, "")),
        score=score,
        rank=rank,
        metadata=_metadata(properties["metadata"]),
    )


def version_of(found: Found) -> tuple[str, int, Version]:
    """Document id, passage index and version of one stored object."""
    properties = found.properties
    version = Version(properties["content_hash"], int(properties["passage_count"]))
    return properties["document_id"], int(properties["passage_index"]), version


def _metadata(stored: str) -> dict[str, Value]:
    """A value is a scalar or a tuple of scalars; JSON knows tuples as lists."""
    return {
        field: tuple(value) if isinstance(value, list) else value
        for field, value in json.loads(stored).items()
    }
