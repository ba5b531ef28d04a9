"""What both stores have in common; vectors, BM25 and distances are known to a store alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from search.errors import InputError, StoreError
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
    Value,
)

DEFAULT_SAMPLE = 20
DEFAULT_PATH = Path(".search/store.db")
"""The embedded store's, as `config/default.yaml` has it."""


class Embedder(Protocol):
    """What a store asks of an embedding model; its vectors have length 1."""

    @property
    def info(self) -> EmbeddingInfo: ...

    def encode_passages(self, texts: list[str]) -> NDArray[np.float32]:
        """(texts, dimensions)"""

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """(dimensions,)"""

    def unreadable(self, text: str) -> str | None:
        """What it cannot read, if most of `text` is that ("Cyrillic letters"); else None."""

    def unread_tokens(self, query: str) -> int:
        """How many tokens at the query's end do not fit into its input."""


def metadata_from_json(
    document_id: str, stored: str, store: Path = DEFAULT_PATH
) -> dict[str, Value]:
    """A value is a scalar or a tuple of scalars, which JSON has as a list. Raises StoreError, whose
    hint is for the embedded `store`.
    """
    try:
        return {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in json.loads(stored).items()
        }
    except (ValueError, TypeError, AttributeError):
        raise StoreError(
            f"the metadata of document {document_id!r} is damaged: it is not a JSON object; run "
            f"`two-stage ingest --repair{store_flag(store)}`, then ingest its source again"
        ) from None


def store_flag(path: Path) -> str:
    """What a command that a hint names needs, too, to work on the embedded store at `path`."""
    return "" if path == DEFAULT_PATH else f" --store {shlex.quote(str(path))}"


def behind(documents: Iterator[Listed], after: str | None) -> Iterator[Listed]:
    """Those that come after the one of this id; None: all. Raises InputError without such a one."""
    if after is not None and all(listed.id != after for listed in documents):
        raise unknown_document(after)
    return documents


def unknown_document(document_id: str) -> InputError:
    """What a list says that is to go on behind a document that is not there."""
    return InputError(f"there is no document {document_id!r} to go on after; list from the first")


class Store(Protocol):
    """Takes texts, not vectors, because Weaviate embeds on the server."""

    def put(self, entries: Sequence[Entry]) -> list[Failure]:
        """Store each document whole, in place of an earlier version, durably; say which failed."""

    def move(self, sources: Mapping[str, Source]) -> None:
        """Note that these documents now come from elsewhere; all else of them stays."""

    def delete(self, document_ids: Iterable[str]) -> int:
        """Remove these documents and their passages; the number of documents that were there."""

    def stored(self, document_ids: Sequence[str]) -> Mapping[str, Stored]:
        """What is held of each of these documents; absent ones are left out."""

    def ids(self) -> Iterator[str]:
        """Every stored document's id, streamed; also of documents that are there only in part."""

    def documents(self, after: str | None = None) -> Iterator[Listed]:
        """Every document that `ids` names, streamed; with `after`, those behind that one.

        Raises InputError where there is no such document.
        """

    def get(self, document_id: str) -> StoredDocument | None:
        """One document with its passages in their order; None when it is not there."""

    def fields(self) -> Mapping[str, frozenset[Kind]]:
        """The metadata fields of all documents, and which kinds of value each holds."""

    def retrieve(
        self,
        query: str,
        k: int,
        filters: Sequence[Condition] = (),
        mode: RetrievalMode = "hybrid",
        alpha: float | None = None,
    ) -> list[Candidate]:
        """The k passages nearest the query, best first, ranks from 1; higher scores are better.

        `alpha` is the weight of the vector ranking in hybrid (0–1); None: as the settings say.
        """

    def unreadable(self, query: str) -> str | None:
        """What the embedding model cannot read, if most of `query` is that; else None.

        The vector ranking of such a query is noise; BM25 finds its words in any script.
        """

    def unread_tokens(self, query: str) -> int:
        """How many tokens at the query's end its vector says nothing of, where that is known."""

    def check(self, sample: int | None = DEFAULT_SAMPLE) -> list[Fault]:
        """What is wrong inside the store; empty when all is well.

        `sample`: how many documents or passages, chosen at random, are looked at more closely, as
        far as their vectors; None: all.
        """

    def repair(self) -> list[Fault]:
        """Mend what can be mended from what the store holds; returns what is left.

        Documents that are left damaged count as changed: ingesting their input again mends them.
        """

    def describe(self) -> StoreInfo:
        """Kind, location, counts, and the embedding model that filled it."""

    def close(self) -> None:
        """Release the store; nothing put before is lost without it."""
