"""The Store on a Weaviate server: what each part of this room does, as one class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from weaviate.classes.query import Filter

from config import Settings
from search.store import DEFAULT_SAMPLE, Embedder, behind
from search.store.sqlite.writing import accept
from search.store.weaviate import metadata, schema
from search.store.weaviate.classes import use_class
from search.store.weaviate.errors import translate_errors
from search.store.weaviate.integrity import Integrity
from search.store.weaviate.objects import Objects, PassageKey, Version, whole
from search.store.weaviate.retrieval import Retrieval
from search.store.weaviate.server import Server, connect
from search.store.weaviate.vectors import open_class
from search.store.weaviate.writing import Writer, not_sendable
from search.store.weaviate.writing.queue import Queue
from search.store.weaviate.writing.sending import Sender
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
        self._retrieval = Retrieval(self._server, self._objects, self._vectors, settings.language)
        self._integrity = Integrity(self._objects, self._writer, self._queue, self._retrieval.words)

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
        first, _ = found[0]
        return StoredDocument(
            id=document_id,
            title=first.title,
            metadata=first.metadata,
            source=first.source,
            content_hash="" if version is None else version.content_hash,
            passages=tuple(Passage(one.passage, one.location, start) for one, start in found),
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
        with self._translated():
            self._integrity.settle()
            return self._retrieval.find(query, k, filters, mode, weight)

    def unreadable(self, query: str) -> str | None:
        """As far as the model that embeds queries is known here."""
        reader = None if query.isascii() else self._vectors.reader
        return None if reader is None else reader.unreadable(query)

    def unread_tokens(self, query: str) -> int:
        """As far as the model that embeds queries is known here."""
        reader = self._vectors.reader
        return 0 if reader is None else reader.unread_tokens(query)

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
