"""The seam between the two stages: everything about vectors, BM25 and distances stays behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from search.types import Candidate, Condition, Entry, Failure, RetrievalMode, StoreInfo


class Store(Protocol):
    """Cut at text, not at vectors, because Weaviate embeds on the server."""

    def put(self, entries: Sequence[Entry]) -> list[Failure]:
        """Store each document whole, in place of an earlier version, durably; say which failed."""

    def delete(self, document_ids: Iterable[str]) -> int:
        """Remove these documents and their passages; the number of documents that were there."""

    def hashes(self, document_ids: Sequence[str]) -> Mapping[str, str]:
        """The content hash of each of these documents that is stored; absent ones are left out."""

    def ids(self) -> Iterator[str]:
        """Every stored document's id, streamed."""

    def retrieve(
        self,
        query: str,
        k: int,
        where: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
    ) -> list[Candidate]:
        """The k passages nearest the query, best first, ranks from 1; higher scores are better."""

    def check(self) -> list[str]:
        """Faults inside the store (a document without its passages…); empty when it is sound."""

    def describe(self) -> StoreInfo:
        """Kind, place, counts, and the embedding model that filled it."""

    def close(self) -> None:
        """Release the store; nothing put before is lost without it."""
