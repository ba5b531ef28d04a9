"""The seam between the two stages: everything about vectors, BM25 and distances stays behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from search.types import (
    Candidate,
    Condition,
    EmbeddingInfo,
    Entry,
    Failure,
    RetrievalMode,
    Stored,
    StoreInfo,
)


class Embedder(Protocol):
    """What a store asks of an embedding model; its vectors have length 1."""

    @property
    def info(self) -> EmbeddingInfo: ...

    def encode_passages(self, texts: list[str]) -> NDArray[np.float32]:
        """(texts, dimensions)"""

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """(dimensions,)"""


class Store(Protocol):
    """Cut at text, not at vectors, because Weaviate embeds on the server."""

    def put(self, entries: Sequence[Entry]) -> list[Failure]:
        """Store each document whole, in place of an earlier version, durably; say which failed."""

    def delete(self, document_ids: Iterable[str]) -> int:
        """Remove these documents and their passages; the number of documents that were there."""

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Stored]:
        """What is held of each of these documents; absent ones are left out."""

    def ids(self) -> Iterator[str]:
        """Every stored document's id, streamed."""

    def retrieve(
        self,
        query: str,
        k: int,
        filters: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
        alpha: float | None = None,
    ) -> list[Candidate]:
        """The k passages nearest the query, best first, ranks from 1; higher scores are better.

        `alpha` is the vector ranking's weight in hybrid; None: as the store was opened with.
        """

    def check(self) -> list[str]:
        """Faults inside the store (a document without its passages…); empty when it is sound."""

    def describe(self) -> StoreInfo:
        """Kind, place, counts, and the embedding model that filled it."""

    def close(self) -> None:
        """Release the store; nothing put before is lost without it."""
