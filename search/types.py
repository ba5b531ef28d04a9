"""The words every other module speaks in: small, frozen, no dependencies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Scalar = str | int | float | bool
"""A metadata value that can be filtered on."""

Value = Scalar | tuple[Scalar, ...]
"""A metadata value; a tuple matches a condition when any of its members does."""

Span = tuple[int, int]
"""Characters of a text, end exclusive."""

TITLE_NAMES = ("title", "name", "heading", "headline", "subject", "question")
TEXT_NAMES = (
    *("text", "content", "contents", "body", "passage", "article", "answer"),
    *("abstract", "description", "summary"),
)
"""The fields in which others keep a title and a text, the likeliest first."""

RetrievalMode = Literal["hybrid", "near_text", "bm25"]
Operator = Literal["=", "!=", "<", "<=", ">", ">="]
Kind = Literal["text", "number", "boolean"]
"""What a metadata value is; it is compared with values of its own kind only."""

Cause = Literal["off", "nothing found", "unreadable", "gate", "deadline", "failed"]
"""Why an answer is not, or not wholly, in the cross-encoder's order."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a document came from: a file's absolute path ("-": standard input) and a line in it.

    `line` counts from 1; None when the whole file is the document.
    """

    file: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where in its source a passage begins, as far as the format tells; lines and pages from 1."""

    line: int | None = None
    page: int | None = None
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One record of the user's corpus, cleaned.

    `id` is exactly what the input said; for a file that is one document, the file's whole path.
    """

    id: str
    title: str
    text: str
    metadata: Mapping[str, Value] = field(default_factory=dict)
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document that both models read whole."""

    text: str
    location: Location | None = None
    start: int | None = None
    """Characters of the document's text before it; None: not known."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document ready to be stored: its passages, and the hash that tells whether it changed."""

    document: Document
    passages: tuple[Passage, ...]
    content_hash: str


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store holds of one document, as far as a new version of it is compared with that.

    `source` is None for a document stored before sources were kept.
    """

    content_hash: str
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a list of all documents."""

    id: str
    title: str
    source: Source | None
    passages: int


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as a store gives it back: in passages, which may share words at their ends."""

    id: str
    title: str
    metadata: Mapping[str, Value]
    source: Source | None
    content_hash: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong inside a store: `count` cases of it, and the ids of the first few documents."""

    reason: str
    count: int
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that a store did not take, and the reason it gave."""

    document_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One metadata filter, `field operator value`; conditions in a sequence are joined by AND.

    A tuple matches when any of its members does, and `!=` when none equals. A value of another kind
    (text, number, boolean) never matches, but for `!=`, which it always does; a document without
    the field never matches at all. `typed`: the value as a person wrote it.
    """

    field: str
    operator: Operator
    value: Scalar
    typed: str = dataclasses.field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage as the first stage found it. `rank` starts at 1; a higher `score` is better.

    `score` is one of `cosine`, `bm25` and `fused` (0–1: hybrid search's mix of both rankings, each
    scaled to its own results); the others are None where the store did not compute them.
    """

    document_id: str
    passage_index: int
    title: str
    passage: str
    score: float
    rank: int
    metadata: Mapping[str, Value] = field(default_factory=dict)
    source: Source | None = None
    location: Location | None = None
    cosine: float | None = None
    bm25: float | None = None
    fused: float | None = None


@dataclass(frozen=True, slots=True)
class PassageHit:
    """One more passage of a hit's document, with the score that it had for itself."""

    candidate: Candidate
    score: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A document in the final order, shown by its best passage.

    `probability` is how likely the passage answers (0–1); None when only the first stage's own
    score is known. `logit` is what the cross-encoder gave; None when it did not read the passage.
    """

    rank: int
    probability: float | None
    logit: float | None
    candidate: Candidate
    retrieval_rank: int
    """The document's rank in the first stage, from 1, among documents (not passages)."""
    retrieval_score: float
    highlight: Span | None = None
    """The sentence of `passage` that answers best; None where that was not asked for."""
    passages: tuple[PassageHit, ...] = ()
    """The document's other passages among the candidates, best first."""
    also_in: tuple[Candidate, ...] = ()
    """The same passage elsewhere, word for word; such copies are no hits of their own."""

    @property
    def score(self) -> float:
        """The probability or, where there is none, the first stage's own score."""
        return self.retrieval_score if self.probability is None else self.probability

    @property
    def id(self) -> str:
        """The document's id."""
        return self.candidate.document_id

    @property
    def title(self) -> str:
        """The document's title; empty when it has none."""
        return self.candidate.title

    @property
    def passage(self) -> str:
        """The text of the document's best passage."""
        return self.candidate.passage

    @property
    def metadata(self) -> Mapping[str, Value]:
        """The document's metadata."""
        return self.candidate.metadata

    @property
    def source(self) -> Source | None:
        """Where the document came from."""
        return self.candidate.source

    @property
    def location(self) -> Location | None:
        """Where in its source the passage begins."""
        return self.candidate.location


@dataclass(frozen=True, slots=True)
class Ranking:
    """An answer and how it was made.

    `reranked` is "partial" when a deadline ended it: the passages read by then come first, the
    others follow in the first stage's order. `reason` says why it is not True, else None, and
    `cause` in a word; `failed` when it should have been. `before` is the first stage's order, as
    long as `hits`.
    """

    query: str
    hits: tuple[Hit, ...]
    before: tuple[Hit, ...]
    reranked: bool | Literal["partial"]
    reason: str | None
    failed: bool
    timings_ms: Mapping[str, float]
    model: Mapping[str, str | int | float | None]
    scored: int = 0
    """How many passages the cross-encoder read."""
    hint: str | None = None
    """Why there are no hits, and what may help; None when there are some."""
    notes: tuple[str, ...] = ()
    """What the reader of this answer should know, for example that the gate does not fit."""
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingInfo:
    """An embedding space: vectors of two different ones cannot be compared.

    `name` is for people; `revision` is what decides, a hash of weights and tokenizer, then a dot
    and one of config and pooling. Stores of earlier versions hold the part before the dot only.
    """

    name: str
    revision: str
    dimensions: int
    query_prefix: str = ""
    passage_prefix: str = ""

    def can_read(self, stored: EmbeddingInfo) -> bool:
        """Whether this model's vectors can be compared with those of a store filled by `stored`."""
        revision = self.revision
        if "." not in stored.revision:
            revision = revision.partition(".")[0]
        return replace(self, name=stored.name, revision=revision) == stored


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store says of itself."""

    kind: str
    location: str
    documents: int
    passages: int
    embedding: EmbeddingInfo | None
    version: str
    notes: tuple[str, ...] = ()
    """What the reader of an answer should know of how this store is read."""
    writable: bool = True
    """False: what is in it was put there by others, and is only read."""


def passage_input(title: str, passage: str) -> str:
    """A passage as both models read it: the title, if there is one, on a line of its own."""
    return f"{title}\n{passage}" if title else passage
