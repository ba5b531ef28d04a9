"""The three ways to ask, with the server's numbers as scores: higher is better."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from weaviate.classes.query import HybridFusion, MetadataQuery
from weaviate.collections.classes.filters import FilterReturn

from search.store import Embedder
from search.store.weaviate.passages import CANDIDATE, candidate_of
from search.store.weaviate.schema import VECTOR
from search.types import Candidate, RetrievalMode


@dataclass(frozen=True, slots=True)
class Search:
    """One query. `embedder` is ours where the class has no vectorizer, else the server embeds."""

    query: str
    k: int
    filters: FilterReturn | None
    alpha: float
    embedder: Embedder | None

    def run(self, collection: Any, mode: RetrievalMode) -> list[Candidate]:
        """The k best passages of `collection`."""
        if mode == "bm25" and not self.query.strip():
            return []  # Weaviate refuses it; no word is in no passage
        if mode == "near_text":
            found = self._near(collection)
            # Weaviate gives the cosine distance, 1 - similarity.
            scores = [1.0 - one.metadata.distance for one in found]
        else:
            found = self._bm25(collection) if mode == "bm25" else self._hybrid(collection)
            scores = [one.metadata.score for one in found]
        pairs = enumerate(zip(found, scores, strict=True), start=1)
        candidates = [candidate_of(one, score, rank) for rank, (one, score) in pairs]
        if mode == "near_text":
            return [replace(one, cosine=one.score) for one in candidates]
        return [replace(one, bm25=one.score) if mode == "bm25" else one for one in candidates]

    def _near(self, collection: Any) -> list[Any]:
        wanted = {
            "limit": self.k,
            "filters": self.filters,
            "target_vector": VECTOR,
            "return_properties": CANDIDATE,
            "return_metadata": MetadataQuery(distance=True),
        }
        if self.embedder is None:
            return list(collection.query.near_text(self.query, **wanted).objects)
        vector = self.embedder.encode_query(self.query).tolist()
        return list(collection.query.near_vector(vector, **wanted).objects)

    def _bm25(self, collection: Any) -> list[Any]:
        found = collection.query.bm25(
            self.query,
            query_properties=["text"],
            limit=self.k,
            filters=self.filters,
            return_properties=CANDIDATE,
            return_metadata=MetadataQuery(score=True),
        )
        return list(found.objects)

    def _hybrid(self, collection: Any) -> list[Any]:
        vector = None if self.embedder is None else self.embedder.encode_query(self.query).tolist()
        found = collection.query.hybrid(
            self.query,
            alpha=self.alpha,
            vector=vector,
            target_vector=VECTOR,
            query_properties=["text"],
            fusion_type=HybridFusion.RELATIVE_SCORE,
            limit=self.k,
            filters=self.filters,
            return_properties=CANDIDATE,
            return_metadata=MetadataQuery(score=True),
        )
        return list(found.objects)
