"""Searches in a class of ours: by vectors, by words, or both, with filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from weaviate.classes.query import Filter, HybridFusion, HybridVector, MetadataQuery
from weaviate.collections.classes.filters import FilterReturn
from weaviate.exceptions import WeaviateQueryError

from search.store.sqlite.writing import is_encodable
from search.store.weaviate import metadata, schema
from search.store.weaviate.errors import is_deadline
from search.store.weaviate.objects import Objects, PassageKey, candidate_of
from search.store.weaviate.server import Server
from search.store.weaviate.vectors import Vectors
from search.store.words import query_words
from search.types import Candidate, Condition, RetrievalMode


class Retrieval:
    """Queries to one class, embedded by our model, or by the server where that does it.

    Raises the client's errors.
    """

    def __init__(self, server: Server, objects: Objects, vectors: Vectors, language: str) -> None:
        self._server = server
        self._objects = objects
        self._vectors = vectors
        self._language = language

    def find(
        self, query: str, k: int, conditions: Sequence[Condition], mode: RetrievalMode, alpha: float
    ) -> list[Candidate]:
        """The k best passages, as `Store.retrieve` gives them."""
        query = query.encode(errors="replace").decode()  # half of a surrogate pair: no UTF-8 form
        filters = self._filter(conditions) if conditions else None
        if conditions and filters is None:
            return []
        ask = {
            "near_text": lambda: self._near(query, k, filters),
            "bm25": lambda: self._bm25(query, k, filters),
            "hybrid": lambda: self._hybrid(query, k, filters, alpha),
        }
        try:
            return self._objects.ask(ask[mode])
        except WeaviateQueryError as error:
            if self._embeds_there(mode) and is_deadline(str(error)):
                self._require_model_service(error)
            raise

    def words(self, query: str) -> str:
        """The query as BM25 reads it; a class made before has only Weaviate's own words."""
        by_words = self._objects.bm25_property == schema.WORDS
        return query_words(query, self._language) if by_words else query

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
        words = self.words(query)
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
            self.words(query),
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


def _key(candidate: Candidate) -> PassageKey:
    return PassageKey(candidate.document_id, candidate.passage_index)
