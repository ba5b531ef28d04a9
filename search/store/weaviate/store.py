"""The Store on a Weaviate server: writing, reading back, searching."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from weaviate.classes.config import ConsistencyLevel
from weaviate.classes.query import Filter

from config import Settings
from search.errors import StoreMissing
from search.store import DEFAULT_SAMPLE, Embedder
from search.store.sqlite.writing import accept, is_encodable
from search.store.weaviate.connect import connect
from search.store.weaviate.faults import translate_errors
from search.store.weaviate.metadata import kind_of, properties_in, where_filter
from search.store.weaviate.opening import open_class
from search.store.weaviate.passages import CANDIDATE, Versions, candidate_of, whole
from search.store.weaviate.records import MAX_RESULTS, Records
from search.store.weaviate.replacing import Replacer, not_sendable
from search.store.weaviate.schema import NO_VECTORIZER, object_id
from search.store.weaviate.searching import Search
from search.store.weaviate.sending import Sender
from search.types import (
    Candidate,
    Condition,
    Entry,
    Failure,
    Fault,
    Kind,
    Listed,
    Passage,
    RetrievalMode,
    Stored,
    StoredDocument,
    StoreInfo,
)


class WeaviateStore:
    """One class of a Weaviate holds the passages. Threads may share an instance.

    A document counts as stored when all passages of its newest version are there and no others:
    Weaviate has no transactions, so a killed ingest leaves mixtures, which `stored` leaves out
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
        self._client, self._address = connect(settings.weaviate_url, options, patient=create)
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
                self._records = Records(self._collection, self._place)
        except BaseException:
            self._client.close()
            raise
        sender = Sender(self._collection, self._place, options.batch_bytes, options.concurrency)
        self._replacer = Replacer(self._records, sender, self._vectors)

    def put(self, entries: Sequence[Entry]) -> list[Failure]:
        """Send all passages, confirm them by reading back, then remove what is left of old ones."""
        accepted, failures = accept(entries)
        latest = {entry.document.id: entry for entry in accepted}
        sendable = []
        for entry in latest.values():
            reason = not_sendable(entry)
            if reason is None:
                sendable.append(entry)
            else:
                failures.append(Failure(entry.document.id, reason))
        if sendable:
            with self._explained():
                failures += self._replacer.replace(sendable)
        return failures

    def delete(self, document_ids: Iterable[str]) -> int:
        """Remove every passage of these documents."""
        with self._explained():
            stored = self._records.stored(list(document_ids))
            self._records.remove(
                object_id(name, index) for name in stored for index in stored[name]
            )
        return len(stored)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Stored]:
        """What is held of each of these documents that is stored whole."""
        with self._explained():
            passages = self._records.stored(document_ids)
        found = {name: whole(there) for name, there in passages.items()}
        return {name: Stored(content_hash) for name, content_hash in found.items() if content_hash}

    def ids(self) -> Iterator[str]:
        """Every document with a passage here, also those that a killed ingest left half."""
        rest: set[str] = set()
        seen: set[str] = set()
        for name, index, version in self._records.all():
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
        filters: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
        alpha: float | None = None,
    ) -> list[Candidate]:
        """The k best passages. Scores: cosine (near_text), BM25, or 0–1 relative (hybrid)."""
        query = query.encode(errors="replace").decode()  # half of a surrogate pair: no UTF-8 form
        with self._explained():
            condition = None
            if filters:
                condition = self._filter(filters)
                if condition is None:
                    return []
            weight = self._alpha if alpha is None else alpha
            search = Search(query, k, condition, weight, self._vectors.of_queries)
            return self._records.asked(lambda: search.run(self._collection, mode))

    def documents(self) -> Iterator[Listed]:
        """Every document in the order of ids."""
        for name in sorted(self.ids()):
            found = self._passages(name)
            if found:
                yield Listed(name, found[0].title, None, len(found))

    def get(self, document_id: str) -> StoredDocument | None:
        """One document with its passages in their order; None when it is not there."""
        held = self.stored([document_id]).get(document_id)
        found = self._passages(document_id) if held else []
        if held is None or not found:
            return None
        passages = tuple(Passage(one.passage) for one in found)
        first = found[0]
        return StoredDocument(
            document_id, first.title, first.metadata, None, held.content_hash, passages
        )

    def fields(self) -> Mapping[str, frozenset[Kind]]:
        """The metadata fields of all documents, and which kinds of value each holds."""
        kinds: dict[str, set[Kind]] = defaultdict(set)
        with self._explained():
            for found in self._collection.iterator(return_properties=["metadata"]):
                for name, value in json.loads(found.properties["metadata"]).items():
                    for member in value if isinstance(value, list) else [value]:
                        kinds[name].add(kind_of(member))
        return {name: frozenset(found) for name, found in kinds.items()}

    def check(self, sample: int | None = DEFAULT_SAMPLE) -> list[Fault]:
        """Documents that are not whole; reads a few properties of every passage, and no vectors."""
        documents: dict[str, Versions] = defaultdict(dict)
        for name, index, version in self._records.all():
            documents[name][index] = version
        names = sorted(name for name, stored in documents.items() if whole(stored) is None)
        reason = "documents that are not whole: ingest them again"
        return [Fault(reason, len(names), tuple(names[:5]))] if names else []

    def repair(self) -> list[Fault]:
        """A document that is not whole has nothing here to be mended from: an ingest mends it."""
        return self.check()

    def describe(self) -> StoreInfo:
        """Server, class, counts, and the embedding model that filled it."""
        first = Filter.by_property("passage_index").equal(0)
        with self._explained():
            version = self._client.get_meta()["version"]
            documents, passages = self._count(first), self._count()
        vectorizer = self._vectors.vectorizer
        by = "" if vectorizer == NO_VECTORIZER else f", vectorizer {vectorizer}"
        return StoreInfo(
            kind="weaviate",
            location=f"{self._place} class {self._collection.name}",
            documents=documents,
            passages=passages,
            embedding=self._vectors.embedding,
            version=f"Weaviate {version}{by}",
        )

    def close(self) -> None:
        """Hang up; an embedded server stops."""
        self._client.close()

    def _passages(self, document_id: str) -> list[Candidate]:
        with self._explained():
            found = self._collection.query.fetch_objects(
                filters=Filter.by_property("document_id").equal(document_id),
                limit=MAX_RESULTS,
                return_properties=CANDIDATE,
            ).objects
            passages = [candidate_of(one, 0.0, 0) for one in found]
        # Weaviate compares without white space at the ends; ids are compared exactly.
        own = (one for one in passages if one.document_id == document_id)
        return sorted(own, key=lambda one: one.passage_index)

    def _count(self, filters: Any = None) -> int:
        over_all = self._collection.aggregate.over_all
        return self._records.asked(lambda: over_all(filters=filters)).total_count or 0

    def _filter(self, filters: Sequence[Condition]) -> Any:
        """The conditions for this class, or None when nothing can match them."""
        if not all(is_encodable(f"{one.field}{one.value}") for one in filters):
            return None  # no stored text is like that
        if not properties_in(filters) <= self._records.properties:
            self._records.refresh_properties()  # another process may have added some
        return where_filter(filters, self._records.properties)

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
        return translate_errors(self._place)
