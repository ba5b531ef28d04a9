"""Stand-ins for a store and a reranker: small, deterministic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Event

import config
from search.rerank import Blend, CrossEncoder, Scored
from search.rerank.provider import RerankerProvider
from search.searcher import Searcher
from search.store import behind
from search.types import (
    Candidate,
    Condition,
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


class ListStore:
    """Gives back the candidates it was made with, best first."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.candidates = list(candidates)
        self.modes: list[RetrievalMode] = []
        self.foreign: str | None = None

    def retrieve(
        self,
        query: str,
        k: int,
        filters: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
        alpha: float | None = None,
    ) -> list[Candidate]:
        self.modes.append(mode)
        return self.candidates[:k]

    def put(self, entries: Sequence[Entry]) -> list[Failure]:
        raise AssertionError("a search must not write")

    def move(self, sources: Mapping[str, Source]) -> None:
        raise AssertionError("a search must not write")

    def delete(self, document_ids: Iterable[str]) -> int:
        raise AssertionError("a search must not write")

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Stored]:
        return {}

    def ids(self) -> Iterator[str]:
        return iter({candidate.document_id for candidate in self.candidates})

    def documents(self, after: str | None = None) -> Iterator[Listed]:
        return behind(iter(Listed(name, "", None, 1) for name in self.ids()), after)

    def get(self, document_id: str) -> StoredDocument | None:
        return None

    def fields(self) -> Mapping[str, frozenset[Kind]]:
        return {}

    def unreadable(self, query: str) -> str | None:
        return self.foreign

    def unread_tokens(self, query: str) -> int:
        return max(0, len(query.split()) - 50)

    def check(self, sample: int | None = None) -> list[Fault]:
        return []

    def repair(self) -> list[Fault]:
        raise AssertionError("a search must not write")

    def describe(self) -> StoreInfo:
        documents = len({candidate.document_id for candidate in self.candidates})
        return StoreInfo("list", "memory", documents, len(self.candidates), None, "1")

    def close(self) -> None:
        pass


class WaitingStore(ListStore):
    """Answers once `go` is set; without it, never: whoever is to set it must not be blocked."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        super().__init__(candidates)
        self.go = Event()

    def retrieve(self, *args: object, **kwargs: object) -> list[Candidate]:
        assert self.go.wait(10), "nobody could set `go`: the search blocked the event loop"
        return self.candidates


class TableReranker:
    """Logits looked up by the passage's last line."""

    def __init__(self, logits: Mapping[str, float], blend: Blend) -> None:
        self.logits = logits
        self.blend = blend
        self.info: Mapping[str, str | int] = {"name": "table", "device": "cpu", "precision": "fp32"}
        self.calls = 0
        self.fault: Exception | None = None

    def readable(self, query: str) -> str:
        return query[:300]

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        self.calls += 1
        if self.fault is not None:
            raise self.fault
        if seconds == 0:
            return []
        return [Scored(self.logits[text.splitlines()[-1]], self.span(text)) for _, text in pairs]

    def span(self, text: str) -> tuple[int, int]:
        return (0, len(text))


class TableEncoder(CrossEncoder):
    """A cross-encoder whose logits are looked up; a text that is not in the table is a fault."""

    def __init__(self, logits: Mapping[str, float]) -> None:
        self.blend = Blend()
        self.score_pairs = TableReranker(logits, self.blend).score_pairs  # type: ignore[method-assign]

    def readable(self, query: str) -> str:
        return query

    def unreadable(self, query: str) -> str | None:
        return None if query.isascii() else "Han"


def candidate(document_id: str, passage: str, score: float, rank: int, index: int = 0) -> Candidate:
    title = document_id.title()
    return Candidate(document_id, index, title, passage, score, rank, fused=score)


def searcher_over(store: ListStore, logits: Mapping[str, float], **flags: object) -> Searcher:
    """A searcher with looked-up logits and the default settings, but for `flags`."""
    reranker = TableReranker(logits, Blend())
    return Searcher(store, RerankerProvider(lambda: reranker), config.load(flags, files=[]))
