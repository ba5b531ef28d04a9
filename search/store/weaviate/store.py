"""The Store on a Weaviate server: writing, reading back, searching."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from weaviate.classes.config import ConsistencyLevel
from weaviate.classes.query import Filter

from config import Settings
from search.errors import StoreMissing, StoreUnavailable
from search.store.weaviate import searching
from search.store.weaviate.connect import connect
from search.store.weaviate.faults import explained
from search.store.weaviate.metadata import definition, properties_of, where_filter
from search.store.weaviate.opening import open_class
from search.store.weaviate.passages import VERSION, Stored, objects_of, version_of, whole
from search.store.weaviate.schema import NO_VECTORIZER, object_id
from search.store.weaviate.sending import Object, Sender
from search.store.writing import Embedder, accept, is_encodable
from search.types import (
    Candidate,
    Condition,
    Entry,
    Failure,
    RetrievalMode,
    StoreInfo,
    passage_input,
)

# The most objects that a server gives in one answer (QUERY_MAXIMUM_RESULTS), and so the most
# passages of one document: some two million words.
MOST_RESULTS = 10_000
_DELETED_AT_ONCE = 1000
_LOST = "the server confirmed it, but does not have it"


class WeaviateStore:
    """One class of a Weaviate holds the passages. Threads may share an instance.

    A document counts as stored when all passages of its newest version are there and no others:
    Weaviate has no transactions, so a killed ingest leaves mixtures, which `hashes` leaves out
    and the next ingest mends.
    """

    def __init__(
        self, settings: Settings, load_embedder: Callable[[], Embedder], *, create: bool = False
    ) -> None:
        """Connect, and check the class, or make it with `create`.

        Raises StoreUnavailable, StoreMissing, ModelMismatch, ConfigError or StoreError.
        """
        options = settings.weaviate
        assert settings.weaviate_url is not None
        self._alpha = settings.alpha
        self._client, self._address = connect(settings.weaviate_url, options)
        self._place = self._address.rest
        try:
            with self._explained():
                self._vectors = open_class(
                    self._client, self._place, options, load_embedder, create
                )
                self._collection = self._use(options.collection, options.tenant, create)
                if options.consistency_level is not None:
                    self._collection = self._collection.with_consistency_level(
                        ConsistencyLevel(options.consistency_level)
                    )
                self._properties = self._read_properties()
        except BaseException:
            self._client.close()
            raise
        self._sender = Sender(
            self._collection, self._place, options.batch_bytes, options.concurrency
        )

    def put(self, entries: Sequence[Entry]) -> list[Failure]:
        """Send all passages, confirm them by reading back, then remove what is left of old ones."""
        accepted, failures = accept(entries)
        latest = {entry.document.id: entry for entry in accepted}
        sendable = []
        for entry in latest.values():
            reason = _not_sendable(entry)
            if reason is None:
                sendable.append(entry)
            else:
                failures.append(Failure(entry.document.id, reason))
        if sendable:
            with self._explained():
                failures += self._replace(sendable)
        return failures

    def delete(self, document_ids: Iterable[str]) -> int:
        """Remove every passage of these documents."""
        with self._explained():
            stored = self._stored(list(document_ids))
            self._remove(object_id(name, index) for name in stored for index in stored[name])
        return len(stored)

    def hashes(self, document_ids: Sequence[str]) -> Mapping[str, str]:
        """The content hash of each of these documents that is stored whole."""
        with self._explained():
            stored = self._stored(document_ids)
        found = {name: whole(passages) for name, passages in stored.items()}
        return {name: content_hash for name, content_hash in found.items() if content_hash}

    def ids(self) -> Iterator[str]:
        """Every document with a passage here, also those not whole: prune has to find them."""
        rest: set[str] = set()
        seen: set[str] = set()
        for name, index, version in self._all_passages():
            if index == 0:
                yield name
                if version.passage_count > 1:
                    seen.add(name)
            else:
                rest.add(name)
        yield from sorted(rest - seen)

    def retrieve(
        self,
        query: str,
        k: int,
        where: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
    ) -> list[Candidate]:
        """The k best passages. Scores: cosine (near_text), BM25, or 0–1 relative (hybrid)."""
        query = query.encode(errors="replace").decode()  # half of a surrogate pair: no UTF-8 form
        with self._explained():
            filters = None
            if where:
                filters = self._filter(where)
                if filters is None:
                    return []
            search = searching.Search(query, k, filters, self._alpha, self._vectors.of_queries)
            return search.run(self._collection, mode)

    def check(self) -> list[str]:
        """Documents that are not whole; reads a few properties of every passage."""
        documents: dict[str, Stored] = defaultdict(dict)
        for name, index, version in self._all_passages():
            documents[name][index] = version
        return [
            f"document {name!r} is not whole ({len(stored)} passages): ingest it again"
            for name, stored in sorted(documents.items())
            if whole(stored) is None
        ]

    def describe(self) -> StoreInfo:
        """Server, class, counts, and the embedding model that filled it."""
        first = Filter.by_property("passage_index").equal(0)
        with self._explained():
            version = self._client.get_meta()["version"]
            documents = self._collection.aggregate.over_all(filters=first).total_count
            passages = self._collection.aggregate.over_all().total_count
        vectorizer = self._vectors.vectorizer
        by = "" if vectorizer == NO_VECTORIZER else f", vectorizer {vectorizer}"
        return StoreInfo(
            kind="weaviate",
            location=f"{self._place} class {self._collection.name}",
            documents=documents or 0,
            passages=passages or 0,
            embedding=self._vectors.embedding,
            version=f"Weaviate {version}{by}",
        )

    def close(self) -> None:
        """Hang up; an embedded server stops."""
        self._client.close()

    def _replace(self, entries: Sequence[Entry]) -> list[Failure]:
        names = [entry.document.id for entry in entries]
        self._add_properties(entries)
        before = self._stored(names)
        objects = self._objects(entries)
        reasons = self._sender.send([one for own in objects for one in own])
        after = self._stored(names)
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
        self._remove(remove)
        return failures

    def _reason(self, entry: Entry, there: Stored, reasons: Mapping[UUID, str]) -> str | None:
        """Why a document that was sent is not stored whole; None when it is."""
        for index in range(len(entry.passages)):
            identity = object_id(entry.document.id, index)
            if identity in reasons:
                return f"Weaviate refuses passage {index}: {reasons[identity]}"
            version = there.get(index)
            if version is None or version.content_hash != entry.content_hash:
                # A replica may lag behind in its index; by id the consistency level holds.
                found = self._collection.query.fetch_object_by_id(identity)
                if found is None or found.properties["content_hash"] != entry.content_hash:
                    return f"passage {index}: {_LOST}"
        return None

    def _objects(self, entries: Sequence[Entry]) -> list[list[Object]]:
        if self._vectors.of_passages is None:
            return [objects_of(entry, None) for entry in entries]
        texts = [
            passage_input(e.document.title, passage) for e in entries for passage in e.passages
        ]
        rows = iter(self._vectors.of_passages.encode_passages(texts))
        return [objects_of(entry, [next(rows) for _ in entry.passages]) for entry in entries]

    def _stored(self, document_ids: Sequence[str]) -> dict[str, Stored]:
        """The passages that the server has of these documents."""
        names = list(dict.fromkeys(filter(is_encodable, document_ids)))
        if not names:
            return {}
        found = self._collection.query.fetch_objects(
            filters=Filter.by_property("document_id").contains_any(names),
            limit=MOST_RESULTS,
            return_properties=VERSION,
        ).objects
        if len(found) == MOST_RESULTS and len(names) > 1:
            middle = len(names) // 2
            return self._stored(names[:middle]) | self._stored(names[middle:])
        stored: dict[str, Stored] = defaultdict(dict)
        for name, index, version in map(version_of, found):
            stored[name][index] = version
        # Weaviate compares without white space at the ends; ids are compared exactly.
        return {name: stored[name] for name in names if name in stored}

    def _all_passages(self) -> Iterator[tuple[str, int, Any]]:
        passages = iter(self._collection.iterator(return_properties=VERSION))
        while True:
            with self._explained():
                one = next(passages, None)
            if one is None:
                return
            yield version_of(one)

    def _remove(self, identities: Iterable[UUID]) -> None:
        waiting = list(identities)
        for start in range(0, len(waiting), _DELETED_AT_ONCE):
            part = waiting[start : start + _DELETED_AT_ONCE]
            where = Filter.by_id().contains_any(part)
            # It could say why, but with `verbose` 1.39.0 fails itself when a deletion fails.
            done = self._collection.data.delete_many(where=where)
            if done.failed:
                raise StoreUnavailable(
                    f"Weaviate at {self._place} did not delete {done.failed} passages: it is "
                    "read-only, its disk being full, or lacks replicas; see its log, then run the "
                    "same command again"
                )

    def _add_properties(self, entries: Sequence[Entry]) -> None:
        """Make the properties that these documents' metadata needs and the class lacks."""
        needed = {name for entry in entries for name in properties_of(entry.document.metadata)}
        for name in sorted(needed - self._properties):
            if name not in self._read_properties():
                self._collection.config.add_property(definition(name))
            self._properties.add(name)

    def _filter(self, where: Sequence[Condition]) -> Any:
        """The conditions for this class, or None when nothing can match them."""
        if not all(is_encodable(f"{one.field}{one.value}") for one in where):
            return None  # no stored text is like that
        filters = where_filter(where, self._properties)
        if filters is None:  # a property that we do not know may be new
            self._properties = self._read_properties()
            filters = where_filter(where, self._properties)
        return filters

    def _read_properties(self) -> set[str]:
        return {known.name for known in self._collection.config.get().properties}

    def _use(self, name: str, tenant: str | None, create: bool) -> Any:
        collection = self._client.collections.use(name)
        if tenant is None:
            return collection
        if not collection.tenants.exists(tenant):
            if not create:
                raise StoreMissing(
                    f"class {name} at {self._place} has no tenant {tenant!r} yet: "
                    "run `python -m ingest PATH` first, or set weaviate.tenant"
                )
            collection.tenants.create(tenant)
        return collection.with_tenant(tenant)

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self._place)


def _not_sendable(entry: Entry) -> str | None:
    """Why Weaviate could not hold a document that the embedded store takes."""
    if len(entry.passages) > MOST_RESULTS:
        return f"it has {len(entry.passages):,} passages; Weaviate reads back {MOST_RESULTS:,}"
    if not is_encodable(json.dumps(dict(entry.document.metadata), ensure_ascii=False)):
        return "its metadata holds half of a surrogate pair, which has no UTF-8 form"
    return None
