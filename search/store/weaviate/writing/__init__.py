"""Documents in place of their earlier versions: sent, made durable, and confirmed by reading back.

Weaviate has no transactions: the order of steps stands in for one. Whoever kills client or server
in between leaves a mixture, which does not count as stored, and which the next ingest sends again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from weaviate.classes.data import DataObject

from search.errors import ModelError
from search.store import Embedder
from search.store.sqlite.writing import is_encodable
from search.store.weaviate.metadata import metadata_properties
from search.store.weaviate.objects import (
    MAX_RESULTS,
    Object,
    Objects,
    PassageKey,
    Passages,
    objects_of,
    whole,
)
from search.store.weaviate.schema import missing_properties
from search.store.weaviate.writing.queue import Queue
from search.store.weaviate.writing.sending import Sender
from search.types import Entry, Failure, passage_input

MENDING_ROUNDS = 2


class Writer:
    """Writes whole documents into one class."""

    def __init__(self, objects: Objects, sender: Sender, queue: Queue) -> None:
        self._objects = objects
        self._sender = sender
        self._queue = queue
        self.saw_crash = False  # whether anything was found as only a stopped server leaves it

    def replace(self, entries: Sequence[Entry], embedder: Embedder | None) -> list[Failure]:
        """Store these different documents; returns those that are not whole on the server.

        Without an embedder the server makes the vectors.
        """
        vectors = None if embedder is None else _embed(entries, embedder)
        failures = [] if vectors is None else self._odd_vectors(vectors)
        odd = {failure.document_id for failure in failures}
        entries = [entry for entry in entries if entry.document.id not in odd]
        self._add_properties(entries)
        before = self._objects.passages(entry.document.id for entry in entries)
        self.saw_crash |= any(whole(passages) is None for passages in before.values())
        sent = self._objects_of(entries, vectors)
        missing = self._confirmed(sent, self._sender.send(list(sent.values())))
        remove: list[PassageKey] = []
        for entry in entries:
            name, size = entry.document.id, len(entry.passages)
            reason = next(
                (missing[key] for i in range(size) if (key := PassageKey(name, i)) in missing),
                None,
            )
            there = before.get(name, {})
            if reason is None:
                remove += [PassageKey(name, i) for i in _extent(there) if i >= size]
                continue
            failures.append(Failure(name, reason))
            if not there:  # half of a new document would be found by searches
                remove += [PassageKey(name, i) for i in range(size)]
        self._objects.remove(remove)
        return failures

    def mend(self, keys: Sequence[PassageKey]) -> dict[PassageKey, str]:
        """Make these passages anew from what is stored of them, so that all indexes have them.

        The reasons of those that could not be.
        """
        self.saw_crash = True
        found = self._objects.with_vectors(keys)
        objects = {
            key: DataObject(
                uuid=key.identity,
                properties={n: v for n, v in one.properties.items() if v is not None},
                vector=dict(one.vector) or None,
            )
            for key, one in found.items()
        }
        return self._sent_anew(objects) | {k: "it is gone" for k in keys if k not in found}

    def _confirmed(
        self, sent: Mapping[PassageKey, Object], refused: Mapping[UUID, str]
    ) -> dict[PassageKey, str]:
        """Why each passage that is not there for certain is not."""
        missing = {
            key: f"Weaviate refuses passage {key.passage}: {refused[key.identity]}"
            for key in sent
            if key.identity in refused
        }
        taken = {key: one for key, one in sent.items() if key not in missing}
        self._objects.flush(list(taken))
        absent = self._absent(taken)
        self.saw_crash |= bool(absent)
        for _ in range(MENDING_ROUNDS):
            if not absent:
                break
            missing |= (refused_again := self._sent_anew({key: taken[key] for key in absent}))
            taken = {key: taken[key] for key in absent if key not in refused_again}
            absent = self._absent(taken)
        return missing | {
            key: f"passage {key.passage}: the server confirmed it, but does not find it"
            for key in absent
        }

    def _sent_anew(self, objects: Mapping[PassageKey, Object]) -> dict[PassageKey, str]:
        """Deleted and sent: an object that is there in this form would be skipped, whatever its
        indexes lack."""
        self._objects.remove_each(key.identity for key in objects)
        refused = self._sender.send(list(objects.values()))
        self._objects.flush(list(objects))
        return {
            key: f"Weaviate refuses passage {key.passage}: {refused[key.identity]}"
            for key in objects
            if key.identity in refused
        }

    def _absent(self, sent: Mapping[PassageKey, Object]) -> list[PassageKey]:
        """Those that the server does not find in this version, by properties or by vector."""
        later = self._queue.is_used
        names = dict.fromkeys(key.document_id for key in sent)
        there = self._objects.passages(names, indexed=not later)
        absent = []
        for key, one in sent.items():
            version = there.get(key.document_id, {}).get(key.passage)
            content_hash = one.properties["content_hash"]
            seen = version is not None and version.content_hash == content_hash
            # The index of a replica may lag behind; by id the consistency level holds.
            if not (seen or (self._objects.replicated and self._objects.has(key, content_hash))):
                absent.append(key)
        if later:
            self._queue.add(key for key in sent if key not in set(absent))
        return absent

    def _add_properties(self, entries: Sequence[Entry]) -> None:
        wanted = [n for entry in entries for n in metadata_properties(entry.document.metadata)]
        if not missing_properties(wanted, self._objects.properties):
            return
        self._objects.refresh_properties()
        for definition in missing_properties(wanted, self._objects.properties):
            self._objects.collection.config.add_property(definition)
            self._objects.properties.add(definition.name)

    def _odd_vectors(self, vectors: Mapping[str, list[NDArray[np.float32]]]) -> list[Failure]:
        """A server that indexes later takes a vector of another length, and never finds it."""
        expected = self._objects.dimensions
        return [
            Failure(name, f"a vector of it has {row.size} dimensions, the class's have {expected}")
            for name, rows in vectors.items()
            for row in rows
            if row.size != expected
        ]

    def _objects_of(
        self,
        entries: Sequence[Entry],
        vectors: Mapping[str, list[NDArray[np.float32]]] | None,
    ) -> dict[PassageKey, Object]:
        objects: dict[PassageKey, Object] = {}
        for entry in entries:
            name = entry.document.id
            rows = None if vectors is None else vectors[name]
            made = objects_of(entry, rows, self._objects.properties)
            objects |= {PassageKey(name, i): one for i, one in enumerate(made)}
        return objects


def not_sendable(entry: Entry) -> str | None:
    """Why Weaviate could not hold a document that the embedded store takes."""
    if len(entry.passages) > MAX_RESULTS:
        return f"it has {len(entry.passages):,} passages; Weaviate reads back {MAX_RESULTS:,}"
    if not is_encodable(json.dumps(dict(entry.document.metadata), ensure_ascii=False)):
        return "its metadata holds half of a surrogate pair, which has no UTF-8 form"
    return None


def _embed(entries: Sequence[Entry], embedder: Embedder) -> dict[str, list[NDArray[np.float32]]]:
    """The vectors of each document's passages, in order. Raises ModelError."""
    texts = [passage_input(one.document.title, p.text) for one in entries for p in one.passages]
    rows = list(embedder.encode_passages(texts))
    if len(rows) != len(texts) or not all(np.isfinite(row).all() for row in rows):
        raise ModelError(
            f"the embedding model {embedder.info.name!r} gave {len(rows)} vectors for "
            f"{len(texts)} texts, expected as many, and finite; nothing of this batch was sent"
        )
    row = iter(rows)
    return {one.document.id: list(islice(row, len(one.passages))) for one in entries}


def _extent(there: Passages) -> set[int]:
    """Every passage that may be there: the index of properties may have lost some."""
    return set(there) | {i for version in there.values() for i in range(version.passage_count)}
