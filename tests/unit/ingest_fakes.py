"""A store in memory, and an embedder that only counts words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from search.types import (
    Candidate,
    Condition,
    EmbeddingInfo,
    Entry,
    Failure,
    Fault,
    Kind,
    Listed,
    RetrievalMode,
    Source,
    Stored,
    StoredDocument,
    StoreInfo,
)


class MemoryStore:
    """Keeps entries by id; refuses the ids in `refused`, and silently loses those in `lost`.

    Of those in `half`, as a kill leaves them in Weaviate, it has no more than id and source.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.puts = 0
        self.refused: set[str] = set()
        self.lost: set[str] = set()
        self.half: dict[str, Source | None] = {}
        self.faults: list[Fault] = []

    def put(self, entries: Sequence[Entry]) -> list[Failure]:
        self.puts += 1
        for entry in entries:
            if entry.document.id not in self.refused | self.lost:
                self.entries[entry.document.id] = entry
        ids = [entry.document.id for entry in entries]
        return [Failure(i, "the store is in a bad mood") for i in ids if i in self.refused]

    def move(self, sources: Mapping[str, Source]) -> None:
        for name, source in sources.items():
            entry = self.entries[name]
            self.entries[name] = replace(entry, document=replace(entry.document, source=source))

    def delete(self, document_ids: Iterable[str]) -> int:
        ids = set(document_ids)
        there = ids & (self.entries.keys() | self.half.keys())
        self.half = {i: self.half[i] for i in self.half.keys() - ids}
        self.entries = {i: entry for i, entry in self.entries.items() if i not in ids}
        return len(there)

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Stored]:
        there = {i: self.entries[i] for i in document_ids if i in self.entries}
        return {i: Stored(e.content_hash, e.document.source) for i, e in there.items()}

    def ids(self) -> Iterator[str]:
        return iter([*self.entries, *self.half])

    def retrieve(
        self,
        query: str,
        k: int,
        filters: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
        alpha: float | None = None,
    ) -> list[Candidate]:
        raise AssertionError("ingest does not search")

    def documents(self) -> Iterator[Listed]:
        for name, entry in list(self.entries.items()):
            document = entry.document
            yield Listed(name, document.title, document.source, len(entry.passages))
        for name in sorted(self.half):
            yield Listed(name, "", self.half[name], 1)

    def get(self, document_id: str) -> StoredDocument | None:
        entry = self.entries.get(document_id)
        if entry is None:
            return None
        document = entry.document
        return StoredDocument(
            document_id,
            document.title,
            document.metadata,
            document.source,
            entry.content_hash,
            entry.passages,
        )

    def fields(self) -> Mapping[str, frozenset[Kind]]:
        raise AssertionError("ingest does not search")

    def check(self, sample: int | None = None) -> list[Fault]:
        return self.faults

    def repair(self) -> list[Fault]:
        self.faults = self.faults[1:]
        return self.faults

    def describe(self) -> StoreInfo:
        passages = sum(len(entry.passages) for entry in self.entries.values())
        info = EmbeddingInfo("fake", "1", 3)
        documents = len(self.entries) + len(self.half)
        return StoreInfo("memory", "memory", documents, passages, info, "1")

    def close(self) -> None:
        pass


class WordTokenizer:
    """A token is a word, or another single character that is no space."""

    max_passage_tokens = 40

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


class FakeEmbedder:
    tokenizer = WordTokenizer()
