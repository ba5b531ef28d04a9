"""The Store on a class that others made: one object is one document, and is only read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Never
from uuid import UUID

from weaviate.classes.query import HybridFusion, HybridVector, MetadataQuery
from weaviate.exceptions import WeaviateQueryError

from config import Settings
from search.errors import ConfigError, InputError, StoreError
from search.store import DEFAULT_SAMPLE, Embedder, unknown_document
from search.store.weaviate.classes import read_only, use_class
from search.store.weaviate.errors import ask, is_deadline, translate_errors
from search.store.weaviate.foreign.conditions import filter_of
from search.store.weaviate.foreign.layout import layout_of
from search.store.weaviate.foreign.vectors import EMPTY, NoVectorsError, Queries
from search.store.weaviate.server import Server
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

PAGE = 1000
STOP_WORDS = "only stopwords"


class ForeignStore:
    """The objects of one class, or of one tenant in it. Threads may share an instance.

    A document's id is its object's uuid; its text is one passage, however long.
    """

    def __init__(
        self,
        server: Server,
        settings: Settings,
        definition: Mapping[str, Any],
        load_embedder: Callable[[], Embedder],
    ) -> None:
        """`definition` is the class's schema, which is not asked for again.

        Raises ConfigError, StoreMissing, StoreUnavailable or StoreError.
        """
        options = settings.weaviate
        self._server = server
        self._alpha = settings.alpha
        self._bm25_alone = settings.retrieval == "bm25"
        self._name = str(definition["class"])
        self._layout = layout_of(definition, options.title_property, options.text_properties)
        self._replicated = int((definition.get("replicationConfig") or {}).get("factor") or 1) > 1
        with self._translated():
            self._collection = use_class(server, options, foreign=definition)
        self._queries = Queries(
            definition, self._layout, options.vector_name, self._collection, load_embedder
        )

    def retrieve(
        self,
        query: str,
        k: int,
        filters: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
        alpha: float | None = None,
    ) -> list[Candidate]:
        """The k best objects. Scores: cosine or minus the distance, BM25, or 0–1 (hybrid).

        Hybrid is one of its two rankings where the class has only that. Raises StoreError where it
        has not what `mode` needs, ConfigError where it is not clear which vector is meant.
        """
        query = query.encode(errors="replace").decode()  # half of a surrogate pair: no UTF-8 form
        wanted = {
            "limit": k,
            "filters": filter_of(filters, self._layout) if filters else None,
            "return_properties": list(self._layout.properties),
        }
        if filters and wanted["filters"] is None:
            return []
        if mode == "bm25":
            return self._bm25(query, wanted)
        try:
            embedder = self._embedder()
        except NoVectorsError as none:
            if none.reason == EMPTY:
                return []
            if mode == "near_text" or not self._layout.searchable:
                raise
            return self._bm25(query, wanted)
        if mode == "near_text" or not self._layout.searchable:
            return self._near(query, embedder, wanted)
        return self._hybrid(query, embedder, self._alpha if alpha is None else alpha, wanted)

    def unreadable(self, query: str) -> str | None:
        """As far as it is our model that embeds queries, and BM25 can take its place."""
        if query.isascii() or self._bm25_alone or not self._layout.searchable:
            return None
        with suppress(NoVectorsError, ConfigError):  # which a search says better
            embedder = self._embedder()
            return None if embedder is None else embedder.unreadable(query)
        return None

    def unread_tokens(self, query: str) -> int:
        """As far as it is our model that embeds queries."""
        with suppress(NoVectorsError, ConfigError):
            embedder = self._embedder()
            return 0 if embedder is None else embedder.unread_tokens(query)
        return 0

    def documents(self, after: str | None = None) -> Iterator[Listed]:
        """Every object, streamed; with `after`, those behind that one. Raises InputError."""
        identity = None if after is None else self._identity(after)
        if after is not None and (identity is None or self._object(identity, []) is None):
            raise unknown_document(after)
        return self._listed(identity)

    def _listed(self, after: UUID | None) -> Iterator[Listed]:
        title = [self._layout.title] if self._layout.title else []
        objects = iter(
            self._collection.iterator(return_properties=title, cache_size=PAGE, after=after)
        )
        while True:
            with self._translated():
                one = self._ask(lambda: next(objects, None))
            if one is None:
                return
            yield Listed(str(one.uuid), self._layout.title_of(one.properties), None, 1)

    def ids(self) -> Iterator[str]:
        """The uuid of every object, streamed."""
        return (listed.id for listed in self.documents())

    def get(self, document_id: str) -> StoredDocument | None:
        """One object by its uuid; None when it is not there."""
        identity = self._identity(document_id)
        found = None if identity is None else self._object(identity, list(self._layout.properties))
        if found is None:
            return None
        values = found.properties
        return StoredDocument(
            id=str(found.uuid),
            title=self._layout.title_of(values),
            metadata=self._layout.metadata_of(values),
            source=None,
            content_hash="",
            passages=(Passage(self._layout.text_of(values)),),
        )

    def fields(self) -> Mapping[str, frozenset[Kind]]:
        """The properties that filters can name, and what each is compared with."""
        return self._layout.kinds()

    def describe(self) -> StoreInfo:
        """Server, class and counts, and in its notes what the class is read as."""
        over_all = self._collection.aggregate.over_all
        with self._translated():
            objects = self._ask(lambda: over_all(total_count=True)).total_count or 0
            notes = tuple(self._notes())
        tenant = self._collection.tenant
        return StoreInfo(
            kind="weaviate",
            location=f"{self._server.url} class {self._name}{f' tenant {tenant}' * bool(tenant)}",
            documents=objects,
            passages=objects,
            embedding=None,  # nobody says which model it was
            version=f"Weaviate {self._server.version()}",
            notes=notes,
            writable=False,
        )

    def close(self) -> None:
        """Hang up; an embedded server stops."""
        self._server.close()

    # --- what is never done here

    def put(self, entries: Sequence[Entry]) -> list[Failure]:
        """Raises StoreError, as does all that follows."""
        self._refuse()

    def move(self, sources: Mapping[str, Source]) -> None:
        self._refuse()

    def delete(self, document_ids: Iterable[str]) -> int:
        self._refuse()

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Stored]:
        """What an ingest would compare its documents with."""
        self._refuse()

    def check(self, sample: int | None = DEFAULT_SAMPLE) -> list[Fault]:
        self._refuse()

    def repair(self) -> list[Fault]:
        self._refuse()

    def _refuse(self) -> Never:
        raise read_only(self._server.url, self._name)

    # --- searching

    def _near(
        self, query: str, embedder: Embedder | None, wanted: dict[str, Any]
    ) -> list[Candidate]:
        space = self._queries.space
        wanted |= {"target_vector": space.name, "return_metadata": MetadataQuery(distance=True)}
        if embedder is None:
            found = self._found(lambda: self._collection.query.near_text(query, **wanted))
        else:
            vector = embedder.encode_query(query).tolist()
            found = self._found(lambda: self._collection.query.near_vector(vector, **wanted))
        scores = [space.score(one.metadata.distance) for one in found]
        return [
            self._candidate(one, rank, score, cosine=score if space.gives_cosines else None)
            for rank, (one, score) in enumerate(zip(found, scores, strict=True), 1)
        ]

    def _bm25(self, query: str, wanted: dict[str, Any]) -> list[Candidate]:
        if not self._layout.searchable:
            raise StoreError(
                f"class {self._name} cannot be searched by BM25: none of its properties has an "
                "index of words (indexSearchable); set retrieval to near_text"
            )
        wanted["return_metadata"] = MetadataQuery(score=True)
        found = self._found(lambda: self._collection.query.bm25(query, **wanted))
        return [
            self._candidate(one, rank, one.metadata.score, bm25=one.metadata.score)
            for rank, one in enumerate(found, 1)
        ]

    def _hybrid(
        self, query: str, embedder: Embedder | None, alpha: float, wanted: dict[str, Any]
    ) -> list[Candidate]:
        vector = (
            HybridVector.near_text(query)
            if embedder is None
            else embedder.encode_query(query).tolist()
        )
        wanted |= {
            "alpha": alpha,
            "vector": vector,
            "target_vector": self._queries.space.name,
            "fusion_type": HybridFusion.RELATIVE_SCORE,
            "return_metadata": MetadataQuery(score=True),
        }
        found = self._found(lambda: self._collection.query.hybrid(query, **wanted))
        return [
            self._candidate(one, rank, one.metadata.score, fused=one.metadata.score)
            for rank, one in enumerate(found, 1)
        ]

    def _candidate(self, found: Any, rank: int, score: float, **scores: Any) -> Candidate:
        values = found.properties
        return Candidate(
            document_id=str(found.uuid),
            passage_index=0,
            title=self._layout.title_of(values),
            passage=self._layout.text_of(values),
            score=score,
            rank=rank,
            metadata=self._layout.metadata_of(values),
            **scores,
        )

    def _embedder(self) -> Embedder | None:
        """As `Queries.embedder`, at whose first call the server is asked."""
        with self._translated():
            return self._queries.embedder()

    def _found(self, question: Callable[[], Any]) -> list[Any]:
        """The objects that the server finds, with its refusals in words that help."""
        with self._translated():
            try:
                return list(self._ask(question).objects)
            except WeaviateQueryError as error:
                said = str(error)
                if STOP_WORDS in said:
                    raise InputError(
                        "a filter asks for words that the class leaves out of its index (stop "
                        'words, such as "the"): ask for another word'
                    ) from error
                if is_deadline(said) and self._server.module_hangs():
                    raise self._server.hung_module("the vectorizer") from error
                raise

    def _notes(self) -> Iterator[str]:
        """What an answer from this class has to say of itself."""
        vector = ""
        with suppress(NoVectorsError, ConfigError):
            vector = f", vector={self._queries.space}"
        yield f"class {self._name} was made by others; read as {self._layout}{vector}"
        if self._bm25_alone:
            return
        try:
            self._embedder()
        except NoVectorsError as none:
            if none.reason != EMPTY:
                yield f"found by BM25 alone: {none}"
        except ConfigError:
            return  # which a search says better
        if not self._layout.searchable:
            yield "found by vectors alone: no property has an index of words (indexSearchable)"

    @staticmethod
    def _identity(document_id: str) -> UUID | None:
        try:
            return UUID(document_id)
        except ValueError:
            return None

    def _object(self, identity: UUID, properties: list[str]) -> Any:
        by_id = self._collection.query.fetch_object_by_id
        with self._translated():
            return self._ask(lambda: by_id(identity, return_properties=properties))

    def _ask(self, question: Callable[[], Any]) -> Any:
        return ask(question, replicated=self._replicated)

    def _translated(self) -> Any:
        return translate_errors(self._server.url)
