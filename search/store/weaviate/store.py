"""The Store on a Weaviate server: writing, reading back, searching."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from weaviate.classes.query import Filter, HybridFusion, HybridVector, MetadataQuery
from weaviate.collections.classes.filters import FilterReturn
from weaviate.exceptions import WeaviateQueryError

from config import Settings
from search.store import DEFAULT_SAMPLE, Embedder, behind
from search.store.sqlite.writing import accept, is_encodable
from search.store.weaviate import metadata, schema
from search.store.weaviate.classes import use_class
from search.store.weaviate.errors import is_deadline, translate_errors
from search.store.weaviate.integrity import Integrity
from search.store.weaviate.objects import (
    Objects,
    PassageKey,
    Version,
    candidate_of,
    whole,
)
from search.store.weaviate.server import Server, connect
from search.store.weaviate.vectors import open_class
from search.store.weaviate.writing import Writer, not_sendable
from search.store.weaviate.writing.queue import Queue
from search.store.weaviate.writing.sending import Sender
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
        self._integrity = Integrity(self._objects, self._writer, self._queue, self._words)

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
            names = self._objects.values(metadata.FIELDS)
            self._objects.refresh_properties()
        return {name: metadata.kinds_of(name, self._objects.properties) for name in names}

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
            self._integrity.settle()
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
            return self._integrity.check(sample)

    def repair(self) -> list[Fault]:
        """Make anew what the indexes lack, from what is stored of it; returns what is left.

        A document that is not whole does not count as stored: an ingest of it mends it.
        """
        with self._translated():
            return self._integrity.repair()

    def describe(self) -> StoreInfo:
        """Server, class, counts, and the embedding model that filled it."""
        index = Filter.by_property("passage_index")
        with self._translated():
            self._integrity.settle()
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
            query_properties=[self._objects.bm25_property],
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
            query_properties=[self._objects.bm25_property],
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

    def _words(self, query: str) -> str:
        """The query as BM25 reads it; a class made before has only Weaviate's own words."""
        by_words = self._objects.bm25_property == schema.WORDS
        return query_words(query, self._language) if by_words else query

    def _filter(self, conditions: Sequence[Condition]) -> FilterReturn | None:
        """The conditions for this class, or None when nothing can match them."""
        if not all(is_encodable(f"{one.field}{one.value}") for one in conditions):
            return None  # no stored text is like that
        if metadata.unknown_properties(conditions, self._objects.properties):
            self._objects.refresh_properties()  # another process may have added some
        metadata.require_order(conditions, self._objects.properties)
        return metadata.metadata_filter(conditions, self._objects.properties)

    def _embeds_there(self, mode: RetrievalMode) -> bool:
        return mode != "bm25" and self._vectors.of_queries is None

    def _require_model_service(self, error: Exception) -> None:
        if self._server.module_hangs():
            raise self._server.hung_module(self._vectors.vectorizer) from error

    def _whole(self, document_ids: Sequence[str]) -> dict[str, Version]:
        there = self._objects.passages(document_ids, indexed=not self._queue.is_used)
        found = {name: v for name, passages in there.items() if (v := whole(passages))}
        if self._queue.is_used:
            keys = [PassageKey(name, i) for name in found for i in there[name]]
            for key in self._queue.lost(keys):
                found.pop(key.document_id, None)
        return found

    def _translated(self) -> AbstractContextManager[None]:
        return translate_errors(self._server.url)


def _key(candidate: Candidate) -> PassageKey:
    return PassageKey(candidate.document_id, candidate.passage_index)
