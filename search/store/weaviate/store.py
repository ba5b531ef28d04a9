"""The Store on a Weaviate server: writing, reading back, searching."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from typing import Any

from weaviate.classes.query import Filter, HybridFusion, HybridVector, MetadataQuery
from weaviate.collections.classes.filters import FilterReturn
from weaviate.exceptions import WeaviateQueryError

from config import Settings
from search.store import DEFAULT_SAMPLE, Embedder, behind
from search.store.sqlite.writing import accept, is_encodable
from search.store.weaviate import schema
from search.store.weaviate.classes import use_class
from search.store.weaviate.client import Server, connect
from search.store.weaviate.errors import is_deadline, translate_errors
from search.store.weaviate.objects import (
    Objects,
    PassageKey,
    Passages,
    Version,
    candidate_of,
    whole,
)
from search.store.weaviate.vectors import open_class
from search.store.weaviate.writing import Queue, Sender, Writer, batched, not_sendable
from search.store.words import query_words
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
    Source,
    Stored,
    StoredDocument,
    StoreInfo,
)

DOCUMENTS_A_QUESTION = 500
PASSAGES_MENDED = 500  # at once
IDS_SHOWN = 5
LOOKUPS_AT_ONCE = 4
SAME_DISTANCE = 1e-4
SETTLING_ROUNDS = 3

log = logging.getLogger(__name__)


class WeaviateStore:
    """One class of a Weaviate holds the passages. Threads may share an instance.

    A document counts as stored when all passages of its newest version are there and no others,
    and the indexes of properties and of vectors have them all: a killed ingest, or a killed
    server, leaves less, which `stored` leaves out and the next ingest sends again.
    """

    def __init__(
        self,
        settings: Settings,
        load_embedder: Callable[[], Embedder],
        *,
        create: bool = False,
        server: Server | None = None,
    ) -> None:
        """Connect, unless `server` is, and check the class, or make it with `create`.

        Raises StoreUnavailable, StoreMissing, ModelMismatch, ConfigError or StoreError.
        """
        options = settings.weaviate
        assert settings.weaviate_url is not None
        self._alpha = settings.alpha
        self._language = settings.language
        self._server = server or connect(settings.weaviate_url, options, patient=create)
        try:
            with self._translated():
                self._vectors = open_class(self._server, options, load_embedder, create)
                collection = use_class(self._server, options, create=create)
                dimensions = self._vectors.embedding.dimensions
                self._objects = Objects(self._server, collection, dimensions, patient=create)
                self._queue = Queue(self._server, self._objects)
        except BaseException:
            self._server.close()
            raise
        sender = Sender(self._server, collection, options)
        self._writer = Writer(self._objects, sender, self._queue)

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
            with self._translated():
                failures += self._writer.replace(sendable, self._vectors.of_passages)
        return failures

    def move(self, sources: Mapping[str, Source]) -> None:
        """Note that these documents now come from elsewhere; all else of them stays.

        A class that an earlier version made has no properties for it, and goes without.
        """
        if "source_file" not in self._objects.properties:
            return
        with self._translated():
            for name, passages in self._objects.passages(sources).items():
                origin = {"source_file": sources[name].file, "source_line": sources[name].line}
                for index in passages:
                    identity = PassageKey(name, index).identity
                    self._objects.collection.data.update(identity, properties=origin)

    def delete(self, document_ids: Iterable[str]) -> int:
        """Remove every passage of these documents."""
        with self._translated():
            stored = self._objects.passages(document_ids)
            self._objects.remove(
                PassageKey(name, index) for name in stored for index in stored[name]
            )
        return len(stored)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Stored]:
        """What is held of each of these documents that is stored whole, and found by vector."""
        with self._translated():
            found = self._whole(document_ids)
        return {name: Stored(v.content_hash, v.source) for name, v in found.items()}

    def ids(self) -> Iterator[str]:
        """Every document with a passage here, also those that a killed ingest left half."""
        for listed in self.documents():
            yield listed.id

    def documents(self, after: str | None = None) -> Iterator[Listed]:
        """Every document that `ids` names, streamed; those without their first passage last."""
        return behind(self._listed(), after)

    def _listed(self) -> Iterator[Listed]:
        rest: dict[str, Listed] = {}
        seen: set[str] = set()
        for one in self._objects.listed():
            if one.is_first:
                yield one.listed
                if one.listed.passages > 1:
                    seen.add(one.listed.id)
            else:
                rest[one.listed.id] = one.listed
        for name in sorted(rest.keys() - seen):
            yield rest[name]

    def get(self, document_id: str) -> StoredDocument | None:
        """One document with its passages in their order; None when it is not there."""
        with self._translated():
            found = self._objects.document(document_id)
            version = whole(self._objects.passages([document_id]).get(document_id, {}))
        if not found:
            return None
        first = found[0]
        return StoredDocument(
            id=document_id,
            title=first.title,
            metadata=first.metadata,
            source=first.source,
            content_hash="" if version is None else version.content_hash,
            passages=tuple(Passage(one.passage, one.location) for one in found),
        )

    def fields(self) -> Mapping[str, frozenset[Kind]]:
        """The metadata fields of all documents, and which kinds of value each holds.

        Of a field beyond those that have properties of their own, every kind.
        """
        with self._translated():
            names = self._objects.values(schema.FIELDS)
            self._objects.refresh_properties()
        return {name: schema.kinds_of(name, self._objects.properties) for name in names}

    def retrieve(
        self,
        query: str,
        k: int,
        filters: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
        alpha: float | None = None,
    ) -> list[Candidate]:
        """The k best passages. Scores: cosine (near_text), BM25, or 0–1 relative (hybrid)."""
        weight = self._alpha if alpha is None else alpha
        query = query.encode(errors="replace").decode()  # half of a surrogate pair: no UTF-8 form
        with self._translated():
            self._settle()
            wanted = self._filter(filters) if filters else None
            if filters and wanted is None:
                return []
            ask = {
                "near_text": lambda: self._near(query, k, wanted),
                "bm25": lambda: self._bm25(query, k, wanted),
                "hybrid": lambda: self._hybrid(query, k, wanted, weight),
            }
            try:
                return self._objects.ask(ask[mode])
            except WeaviateQueryError as error:
                if self._embeds_there(mode) and is_deadline(str(error)):
                    self._require_model_service(error)
                raise

    def unreadable(self, query: str) -> str | None:
        """As far as the model that embeds queries is known here."""
        reader = None if query.isascii() else self._vectors.reader
        return None if reader is None else reader.unreadable(query)

    def check(self, sample: int | None = DEFAULT_SAMPLE) -> list[Fault]:
        """Documents that are not whole, or that an index lacks; reads a little of every passage.

        The passages of `sample` documents are also searched for by their own vectors and words.
        """
        with self._translated():
            self._settle()
            documents = self._documents()
            faults = self._count_faults(documents)
            lacking = self._lacking(documents)
            unfound = self._unfound(_sample(documents, sample)) - lacking
        return faults + _faults(documents, lacking, unfound)

    def repair(self) -> list[Fault]:
        """Make anew what the indexes lack, from what is stored of it; returns what is left.

        A document that is not whole does not count as stored: an ingest of it mends it.
        """
        with self._translated():
            self._settle()
            documents = self._documents()
            unfound = self._unfound(_sample(documents, DEFAULT_SAMPLE))
            if unfound:
                unfound = self._unfound(_sample(documents, None))
            for keys in batched(sorted(self._lacking(documents) | unfound), PASSAGES_MENDED):
                self._writer.mend(keys)
                self._queue.add(keys)
        return self.check()

    def describe(self) -> StoreInfo:
        """Server, class, counts, and the embedding model that filled it."""
        index = Filter.by_property("passage_index")
        with self._translated():
            self._settle()
            # Both by the same index: the count of all objects is another one, and lags behind.
            documents = self._objects.count(index.equal(0))
            passages = self._objects.count(index.greater_or_equal(0))
        vectorizer = self._vectors.vectorizer
        by = "" if vectorizer == schema.NO_VECTORIZER else f", vectorizer {vectorizer}"
        return StoreInfo(
            kind="weaviate",
            location=f"{self._server.url} class {self._objects.collection.name}",
            documents=documents,
            passages=passages,
            embedding=self._vectors.embedding,
            version=f"Weaviate {self._server.version()}{by}",
        )

    def close(self) -> None:
        """Hang up; an embedded server stops."""
        self._server.close()

    # --- searching

    def _near(self, query: str, k: int, filters: FilterReturn | None) -> list[Candidate]:
        wanted = {
            "limit": k,
            "filters": filters,
            "target_vector": schema.VECTOR,
            "return_properties": self._objects.candidate_properties(),
            "return_metadata": MetadataQuery(distance=True),
        }
        ask = self._objects.collection.query
        embedder = self._vectors.of_queries
        if embedder is None:
            found = ask.near_text(query, **wanted).objects
        else:
            found = ask.near_vector(embedder.encode_query(query).tolist(), **wanted).objects
        # Weaviate gives the cosine distance, 1 - similarity.
        scores = [1.0 - one.metadata.distance for one in found]
        return [
            candidate_of(one, score, rank, cosine=score)
            for rank, (one, score) in enumerate(zip(found, scores, strict=True), 1)
        ]

    def _bm25(self, query: str, k: int, filters: FilterReturn | None) -> list[Candidate]:
        words = self._words(query)
        if not words.strip():
            return []  # Weaviate refuses it; no word is in no passage
        found = self._objects.collection.query.bm25(
            words,
            query_properties=[self._bm25_property],
            limit=k,
            filters=filters,
            return_properties=self._objects.candidate_properties(),
            return_metadata=MetadataQuery(score=True),
        ).objects
        return [
            candidate_of(one, one.metadata.score, rank, bm25=one.metadata.score)
            for rank, one in enumerate(found, 1)
        ]

    def _hybrid(
        self, query: str, k: int, filters: FilterReturn | None, alpha: float
    ) -> list[Candidate]:
        embedder = self._vectors.of_queries
        found = self._objects.collection.query.hybrid(
            self._words(query),
            alpha=alpha,
            vector=(
                HybridVector.near_text(query)
                if embedder is None
                else embedder.encode_query(query).tolist()
            ),
            target_vector=schema.VECTOR,
            query_properties=[self._bm25_property],
            fusion_type=HybridFusion.RELATIVE_SCORE,
            limit=k,
            filters=filters,
            return_properties=self._objects.candidate_properties(),
            return_metadata=MetadataQuery(score=True),
        ).objects
        if not found:
            return []
        # The fused score hides what the two rankings say; so these passages are ranked by each.
        these = Filter.by_id().contains_any([one.uuid for one in found])
        cosine = {_key(c): c.cosine for c in self._near(query, len(found), these)}
        bm25 = {_key(c): c.bm25 for c in self._bm25(query, len(found), these)}
        candidates = [
            candidate_of(one, one.metadata.score, rank) for rank, one in enumerate(found, 1)
        ]
        return [
            replace(
                one, cosine=cosine.get(_key(one)), bm25=bm25.get(_key(one), 0.0), fused=one.score
            )
            for one in candidates
        ]

    @property
    def _bm25_property(self) -> str:
        return schema.WORDS if schema.WORDS in self._objects.properties else "text"

    def _words(self, query: str) -> str:
        """The query as BM25 reads it; a class made before has only Weaviate's own words."""
        by_words = self._bm25_property == schema.WORDS
        return query_words(query, self._language) if by_words else query

    def _filter(self, conditions: Sequence[Condition]) -> FilterReturn | None:
        """The conditions for this class, or None when nothing can match them."""
        if not all(is_encodable(f"{one.field}{one.value}") for one in conditions):
            return None  # no stored text is like that
        if schema.unknown_properties(conditions, self._objects.properties):
            self._objects.refresh_properties()  # another process may have added some
        schema.require_order(conditions, self._objects.properties)
        return schema.metadata_filter(conditions, self._objects.properties)

    def _embeds_there(self, mode: RetrievalMode) -> bool:
        return mode != "bm25" and self._vectors.of_queries is None

    def _require_model_service(self, error: Exception) -> None:
        if self._server.module_hangs():
            raise self._server.hung_module(self._vectors.vectorizer) from error

    # --- what is there

    def _whole(self, document_ids: Sequence[str]) -> dict[str, Version]:
        there = self._objects.passages(document_ids, indexed=not self._queue.is_used)
        found = {name: v for name, passages in there.items() if (v := whole(passages))}
        if self._queue.is_used:
            keys = [PassageKey(name, i) for name in found for i in there[name]]
            for key in self._queue.lost(keys):
                found.pop(key.document_id, None)
        return found

    def _settle(self) -> None:
        """Wait for what this process sent and the server indexes later; after a crash of the
        server, look everything up.
        """
        for _ in range(SETTLING_ROUNDS):
            lost = self._queue.settle()
            if not lost:
                break
            self._writer.mend(lost)
            self._queue.add(lost)
        else:
            log.warning(
                "Weaviate at %s does not index the vectors of some passages: see its log, and ask "
                "`python -m ingest --verify`",
                self._server.url,
            )
        if self._writer.saw_crash:
            self._writer.saw_crash = False
            self._mend_unreachable()

    def _mend_unreachable(self) -> None:
        """A crash can also leave a passage in the graph of vectors that can no longer be reached:
        searches then miss it, though it is there."""
        log.warning(
            "Weaviate at %s was stopped while it was written to; looking all passages up by vector",
            self._server.url,
        )
        vectors, unreachable = self._objects.vectors(), []
        with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as pool:
            while page := list(islice(vectors, PASSAGES_MENDED)):
                found = pool.map(self._reaches, page)
                unreachable += [key for key, reached in found if not reached]
        for keys in batched(unreachable, PASSAGES_MENDED):
            self._writer.mend(keys)
            self._queue.add(keys)
        self._writer.saw_crash = False
        self._queue.settle()

    def _reaches(self, one: tuple[PassageKey, Any]) -> tuple[PassageKey, bool]:
        key, vector = one
        return key, bool(vector) and self._finds(key, vector)

    def _documents(self) -> dict[str, Passages]:
        documents: dict[str, Passages] = defaultdict(dict)
        for key, version in self._objects.all():
            documents[key.document_id][key.passage] = version
        return documents

    def _lacking(self, documents: Mapping[str, Passages]) -> set[PassageKey]:
        """The passages that are there, but that the index of properties or of vectors lacks."""
        lacking = self._unindexed(documents)
        if lacking and self._queue.is_used:  # another process's may be on their way
            self._queue.lost(lacking)
            lacking = self._unindexed({k.document_id: documents[k.document_id] for k in lacking})
        return lacking

    def _unindexed(self, documents: Mapping[str, Passages]) -> set[PassageKey]:
        lacking = set()
        for names in batched(list(documents), DOCUMENTS_A_QUESTION):
            there = self._objects.passages(names, indexed=True)
            lacking |= {
                PassageKey(name, index)
                for name in names
                for index in documents[name].keys() - there.get(name, {}).keys()
            }
        return lacking

    def _unfound(self, keys: Sequence[PassageKey]) -> set[PassageKey]:
        """Those of these passages that a search by their own vector, or words, does not find."""
        unfound = set()
        for key, one in self._objects.with_vectors(keys).items():
            vector = one.vector.get(schema.VECTOR)
            if not vector or not self._finds(key, vector) or not self._finds_words(key, one):
                unfound.add(key)
        return unfound

    def _finds(self, key: PassageKey, vector: Any) -> bool:
        """Whether a search with the passage's vector gives it, or only others as near."""
        found = self._objects.ask(
            lambda: self._objects.collection.query.near_vector(
                vector,
                target_vector=schema.VECTOR,
                limit=5,
                return_properties=[],
                return_metadata=MetadataQuery(distance=True),
            )
        ).objects
        if any(one.uuid == key.identity for one in found):
            return True
        return bool(found) and all(one.metadata.distance < SAME_DISTANCE for one in found)

    def _finds_words(self, key: PassageKey, one: Any) -> bool:
        words = self._words(" ".join(str(one.properties["text"]).split()[:20]))
        if self._bm25_property != schema.WORDS or not words.strip():
            return True  # Weaviate's own words: which it leaves out is its own affair
        found = self._objects.ask(
            lambda: self._objects.collection.query.bm25(
                words,
                query_properties=[schema.WORDS],
                filters=Filter.by_id().equal(key.identity),
                limit=1,
                return_properties=[],
            )
        ).objects
        return bool(found)

    def _count_faults(self, documents: Mapping[str, Passages]) -> list[Fault]:
        """Where Weaviate's own count, by its index of properties, is not what is there."""
        passages = sum(map(len, documents.values()))
        counted = self._objects.count(Filter.by_property("passage_index").greater_or_equal(0))
        if counted == passages:
            return []
        reason = f"Weaviate counts {counted:,} passages, but {passages:,} are there"
        if counted > passages:  # a full disk can leave numbers of objects that never came to be
            reason += (
                ": all of these are searched, only its counts are wrong, and stay so until they "
                "are ingested into a class made anew (weaviate.collection)"
            )
        return [Fault(reason, abs(counted - passages))]

    def _translated(self) -> AbstractContextManager[None]:
        return translate_errors(self._server.url)


def _key(candidate: Candidate) -> PassageKey:
    return PassageKey(candidate.document_id, candidate.passage_index)


def _sample(documents: Mapping[str, Passages], size: int | None) -> list[PassageKey]:
    """The passages of so many documents, evenly spread; None: of all."""
    names = list(documents)
    if size is not None:
        names = names[:: max(1, len(names) // max(1, size))][:size]
    return [PassageKey(name, index) for name in names for index in documents[name]]


def _faults(
    documents: Mapping[str, Passages], lacking: set[PassageKey], unfound: set[PassageKey]
) -> list[Fault]:
    partial = [name for name, passages in documents.items() if whole(passages) is None]
    found = {
        "documents are not whole: ingest them again": partial,
        "passages are there, but not in the index of vectors or of properties": [
            key.document_id for key in sorted(lacking)
        ],
        "passages are not found by their own vector or words": [
            key.document_id for key in sorted(unfound)
        ],
    }
    return [
        Fault(reason, len(ids), tuple(sorted(set(ids)))[:IDS_SHOWN])
        for reason, ids in found.items()
        if ids
    ]
