"""Documents in place of their earlier versions, confirmed by reading them back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from search.errors import ModelError
from search.store.sqlite.writing import is_encodable
from search.store.weaviate.metadata import properties_of
from search.store.weaviate.opening import Vectors
from search.store.weaviate.passages import Versions, objects_of
from search.store.weaviate.records import MAX_RESULTS, Records
from search.store.weaviate.schema import object_id
from search.store.weaviate.sending import Object, Sender
from search.types import Entry, Failure, passage_input


@dataclass(frozen=True, slots=True)
class Replacer:
    """Writes whole documents. Weaviate has no transactions: the order of steps stands in for one.

    Passages are sent, read back, and only then is what is left of a longer version removed. Whoever
    kills it in between leaves a mixture of versions, which does not count as stored.
    """

    records: Records
    sender: Sender
    vectors: Vectors

    def replace(self, entries: Sequence[Entry]) -> list[Failure]:
        """Store these different documents; returns those that are not whole on the server."""
        names = [entry.document.id for entry in entries]
        self.records.add_properties(
            {name for entry in entries for name in properties_of(entry.document.metadata)}
        )
        before = self.records.stored(names)
        reasons = self.sender.send(self._objects(entries))
        after = self.records.stored(names)
        failures: list[Failure] = []
        remove: list[UUID] = []
        for entry in entries:
            name, there = entry.document.id, after.get(entry.document.id, {})
            reason = self._reason(entry, there, reasons)
            if reason is None:
                remove += [object_id(name, i) for i in there if i >= len(entry.passages)]
                continue
            failures.append(Failure(name, reason))
            if name not in before:  # half of a new document would be found by searches
                remove += [object_id(name, index) for index in there]
        self.records.remove(remove)
        return failures

    def _reason(self, entry: Entry, there: Versions, reasons: Mapping[UUID, str]) -> str | None:
        """Why a document that was sent is not stored whole; None when it is."""
        for index in range(len(entry.passages)):
            identity = object_id(entry.document.id, index)
            if identity in reasons:
                return f"Weaviate refuses passage {index}: {reasons[identity]}"
            seen = index in there and there[index].content_hash == entry.content_hash
            # The index of a replica may lag behind; by id the consistency level holds.
            if not seen and not self.records.has(identity, entry.content_hash):
                return f"passage {index}: the server confirmed it, but does not have it"
        return None

    def _objects(self, entries: Sequence[Entry]) -> list[Object]:
        embedder = self.vectors.of_passages
        if embedder is None:
            return [one for entry in entries for one in objects_of(entry, None)]
        texts = [passage_input(one.document.title, p.text) for one in entries for p in one.passages]
        rows = list(embedder.encode_passages(texts))
        if len(rows) != len(texts) or not all(np.isfinite(row).all() for row in rows):
            raise ModelError(
                f"the embedding model {embedder.info.name!r} gave {len(rows)} vectors for "
                f"{len(texts)} texts, expected as many, and finite; nothing of this batch was sent"
            )
        row = iter(rows)
        return [
            one
            for entry in entries
            for one in objects_of(entry, [next(row) for _ in entry.passages])
        ]


def not_sendable(entry: Entry) -> str | None:
    """Why Weaviate could not hold a document that the embedded store takes."""
    if len(entry.passages) > MAX_RESULTS:
        return f"it has {len(entry.passages):,} passages; Weaviate reads back {MAX_RESULTS:,}"
    if not is_encodable(json.dumps(dict(entry.document.metadata), ensure_ascii=False)):
        return "its metadata holds half of a surrogate pair, which has no UTF-8 form"
    return None
