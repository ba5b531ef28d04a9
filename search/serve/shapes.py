"""Every request and answer of our own API, as OpenAPI shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from search.types import Kind, RetrievalMode

MAX_DEADLINE_MS = 600_000
Format = Literal["jsonl", "json", "csv", "tsv", "markdown", "html", "text", "pdf", "docx"]
Scalar = str | int | float | bool
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Problem(BaseModel):
    """Why there is no answer: what was found, what was expected, and the fix."""

    error: str
    request_id: str


# --- search


class SearchOptions(BaseModel):
    """What may differ per query; what is left out is as the settings say (`GET /status`)."""

    limit: int | None = Field(None, ge=1, le=1000, description="documents to show")
    candidates: int | None = Field(None, ge=1, le=4000, description="passages to rerank (K)")
    where: list[Text] = Field(
        [],
        max_length=100,
        description='metadata filters, all of which must hold: "year>=2020", "lang=en"',
    )
    retrieval: RetrievalMode | None = None
    alpha: Share | None = Field(None, description="hybrid: weight of the vector ranking")
    rerank: bool | None = None
    threshold: Share | None = Field(None, description="leave out hits below this probability")
    gate: Positive | None = Field(
        None, description="skip reranking where the first stage leads by so much; null: never"
    )
    blend: Positive | None = Field(
        None, description="weight of the first stage's part of the score; null: the model's own"
    )
    deadline_ms: float | None = Field(
        None,
        gt=0,
        le=MAX_DEADLINE_MS,
        allow_inf_nan=False,
        description="the answer is there in so many milliseconds of the request's arrival",
    )
    highlight: bool | None = Field(None, description="find the sentence that decides")
    passages: bool = Field(False, description="each document's other good passages, too")
    before: bool = Field(False, description="the first stage's order, too")


class SearchRequest(SearchOptions):
    """One query, or several that are answered together."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"oneOf": [{"required": ["query"]}, {"required": ["queries"]}]},
    )

    query: Text | None = None
    queries: list[Text] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.query is None) == (self.queries is None):
            raise ValueError("found both or neither of `query` and `queries`, expected one of them")
        return self


class SearchParameters(SearchOptions):
    """The same for `GET`."""

    model_config = ConfigDict(extra="forbid")

    q: Text


class SourceShape(BaseModel):
    """A file's path, "upload:NAME" for what was sent, "-" for standard input; lines from 1."""

    file: str
    line: int | None


class LocationShape(BaseModel):
    """Where in its source a passage begins, as far as the format tells."""

    line: int | None
    page: int | None
    heading: str | None


class RetrievalShape(BaseModel):
    """Where the first stage had it, and with what score of its own scale."""

    rank: int
    score: float


class OtherDocument(BaseModel):
    """Another document with the very same passage."""

    id: str
    title: str
    source: SourceShape | None
    location: LocationShape | None


class OtherPassage(BaseModel):
    """Another passage of the same document that answers nearly as well."""

    passage: str
    location: LocationShape | None
    score: float


class HitShape(BaseModel):
    """One document by its best passage; `highlight` counts characters of that, end exclusive."""

    rank: int
    id: str
    title: str
    passage: str
    highlight: list[int] | None = Field(min_length=2, max_length=2)
    source: SourceShape | None
    location: LocationShape | None
    score: float
    probability: float | None
    logit: float | None
    retrieval: RetrievalShape
    metadata: dict[str, Scalar | list[Scalar]]
    also_in: list[OtherDocument]
    passages: list[OtherPassage] = Field([], description="only where they were asked for")


class SearchAnswer(BaseModel):
    """What `two-stage search --json` gives. `reason` says why `reranked` is not true."""

    model_config = ConfigDict(extra="allow")

    query: str
    reranked: bool | Literal["partial"]
    scored: int
    reason: str | None
    hint: str | None
    notes: list[str]
    hits: list[HitShape]
    timings_ms: dict[str, float]
    model: dict[str, str | int | float | None]
    before: list[HitShape] = Field([], description="only where it was asked for")
    request_id: str = ""


class SearchAnswers(BaseModel):
    """An answer for each of `queries`, in their order."""

    answers: list[SearchAnswer]
    request_id: str


# --- documents


class UploadParameters(BaseModel):
    """How to read what is sent; the fields are found by their usual names without these."""

    model_config = ConfigDict(extra="forbid")

    take_over: bool = Field(
        False, description="replace documents of the same id, whoever sent them"
    )
    name: str | None = Field(
        None, min_length=1, max_length=500, description="of a body that is no file: its source"
    )
    format: Format | None = Field(None, description="read every file as this")
    encoding: str | None = Field(
        None, max_length=100, description="of text, e.g. latin-1; else UTF-8, or UTF-16 by its mark"
    )
    id_field: str | None = None
    title_field: str | None = None
    text_field: str | None = None


class DocumentLine(BaseModel):
    """What became of one record; `number` is its place in what was sent, from 1."""

    status: Literal["stored", "unchanged", "rejected"]
    number: int
    id: str | None
    location: str
    reason: str | None


class Counted(BaseModel):
    """How the records ended; read = stored + unchanged + rejected, or `problem` says why not."""

    read: int
    stored: int
    unchanged: int
    rejected: int
    seconds: float
    problem: str | None = None


class SummaryLine(BaseModel):
    """The last line of an answer to `POST /documents`."""

    summary: Counted


class ListedDocument(BaseModel):
    """A document without its text."""

    id: str
    title: str
    source: SourceShape | None
    passages: int


class DocumentPage(BaseModel):
    """Some documents; `next` is the `after` of the page behind this one, null on the last."""

    documents: list[ListedDocument]
    next: str | None
    total: int


class StoredPassage(BaseModel):
    """Neighbouring passages of a document share words at their ends."""

    text: str
    location: LocationShape | None


class WholeDocument(BaseModel):
    """A document as it is stored."""

    id: str
    title: str
    source: SourceShape | None
    metadata: dict[str, Scalar | list[Scalar]]
    passages: list[StoredPassage]


class Deleted(BaseModel):
    """The id of the document that is no longer there."""

    deleted: str


# --- status


class StoreShape(BaseModel):
    kind: str
    location: str
    documents: int
    passages: int
    version: str


class Defaults(BaseModel):
    """What a search does unless it is asked for something else."""

    limit: int
    candidates: int
    retrieval: RetrievalMode
    alpha: float
    blend: float | None
    gate: float | None
    threshold: float
    highlight: bool
    rerank: bool
    deadline_ms: float | None


class Status(BaseModel):
    """What runs here. `fields`: the metadata that documents have, and of which kinds."""

    store: StoreShape
    embedding: dict[str, Any]
    reranker: dict[str, Any] | None
    fields: dict[str, list[Kind]]
    defaults: Defaults
    may_write: bool
    version: str


class Part(BaseModel):
    """Whether this part of the service is well, and if not, why."""

    ok: bool
    reason: str | None = None


class Ready(BaseModel):
    """Whether a search would be answered in full."""

    store: Part
    encoder: Part
    reranker: Part


class Live(BaseModel):
    """The process answers."""

    ok: Literal[True] = True
