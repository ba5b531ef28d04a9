"""Reranking as Cohere (v1 and v2), Jina and vLLM speak it.

One request and one answer fit all of them: each client reads the part that it knows.
Source: the clients cohere 7.3 and llama-index-postprocessor-jinaai-rerank 0.6; vLLM's
entrypoints/pooling/score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    FiniteFloat,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from search.errors import InputError
from search.serve.caller import request_id
from search.serve.dialects import work
from search.serve.dialects.work import Text
from search.serve.service import Service

TOKENS_PER_CHUNK = 512
"""What Cohere's v1 calls a chunk."""
PAIR_SPECIALS = 3
"""Special tokens around a query and a text, which vLLM's limit counts as well."""


def _plain(value: object, check: ValidatorFunctionWrapHandler) -> object:
    try:
        return check(value)
    except ValidationError:
        raise ValueError(
            "expected text, a finite number, true, false, null, or a list of these"
        ) from None


Plain = Text | bool | int | FiniteFloat | None
Fields = dict[Text, Annotated[Plain | list[Plain], WrapValidator(_plain)]]
Document = Annotated[
    Annotated[Text, Tag("string")] | Annotated[Fields, Tag("object")],
    Discriminator(
        lambda value: {str: "string", dict: "object"}.get(type(value)),
        custom_error_type="document",
        custom_error_message='expected a string, or an object with a "text"',
    ),
]


class RerankRequest(BaseModel):
    """Documents to be put in order; the model that answers is this service's, whatever `model`."""

    query: Text
    documents: Annotated[list[Document], Field(min_length=1)]
    model: Text | None = None
    top_n: Annotated[int, Field(ge=0, description="0, vLLM's default, means all")] | None = None
    return_documents: bool | None = None
    rank_fields: list[Text] | None = None
    max_tokens_per_doc: Annotated[int, Field(ge=1)] | None = None
    max_chunks_per_doc: Annotated[int, Field(ge=1)] | None = None
    truncate_prompt_tokens: Annotated[int, Field(ge=-1, description="-1: no limit")] | None = None

    @classmethod
    def is_meant_by(cls, body: dict[str, Any]) -> bool:
        """Whether this body on a shared path has a field that only these clients send."""
        own = cls.model_fields.keys() - {"query", "documents"}
        documents = body.get("documents")
        with_objects = isinstance(documents, list) and any(isinstance(d, dict) for d in documents)
        return with_objects or not own.isdisjoint(body)


class Result(BaseModel):
    """One document; `index` is its position in the request, the score a probability."""

    index: int
    relevance_score: float
    document: Fields | None = None


class Usage(BaseModel):
    """What the model read for this request; scores from the cache take nothing."""

    prompt_tokens: int
    total_tokens: int


class InputTokens(BaseModel):
    input_tokens: int


class ApiVersion(BaseModel):
    version: Literal["1", "2"]


class Meta(BaseModel):
    """Cohere's part of the answer."""

    api_version: ApiVersion
    tokens: InputTokens
    warnings: list[str] | None = None


class RerankAnswer(BaseModel):
    """Best first; `model` is the one that answered."""

    id: str
    model: str
    results: list[Result]
    usage: Usage
    meta: Meta


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: None = None
    code: int


class Error(BaseModel):
    """Cohere's clients read `message`, Jina's `detail`, vLLM's `error`."""

    id: str
    message: str
    detail: str
    error: ErrorDetail


def router(service: Service) -> APIRouter:
    """The paths that say by themselves which protocol is meant."""
    routes = APIRouter(
        tags=["Cohere, Jina and vLLM"],
        strict_content_type=False,
        responses=work.errors(Error, 400, 404),
    )

    @routes.post("/v1/rerank", response_model_exclude_none=True)
    async def rerank_v1(wanted: RerankRequest) -> RerankAnswer:
        """Documents in the order of their relevance (Cohere v1, Jina, vLLM)."""
        return await reranked(service, wanted)

    @routes.post("/v2/rerank", response_model_exclude_none=True)
    async def rerank_v2(wanted: RerankRequest) -> RerankAnswer:
        """Documents in the order of their relevance (Cohere v2)."""
        if wanted.top_n == 0:
            raise InputError("top_n is 0; expected at least 1, or no top_n for all documents")
        return await reranked(service, wanted, "2")

    return routes


async def reranked(
    service: Service, wanted: RerankRequest, version: Literal["1", "2"] = "1"
) -> RerankAnswer:
    """The documents best first, as many as are wanted."""
    texts = [_text(i, document, wanted) for i, document in enumerate(wanted.documents)]
    limit = await _max_tokens(service, wanted)
    read = texts if limit is None else await work.Tokens(service).cut(texts, limit)
    scored = await work.scores(service, wanted.query, read, "cohere")
    tokens = sum(one.tokens for one in scored)
    name = scored.model
    return RerankAnswer(
        id=request_id(),
        model=name,
        results=_results(wanted, scored, texts),
        usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
        meta=meta(version, tokens, wanted.model, name),
    )


def _results(wanted: RerankRequest, scored: work.Scores, texts: Sequence[str]) -> list[Result]:
    return [
        Result(
            index=i,
            relevance_score=scored.probability(one.logit),
            document=_fields(wanted.documents[i], texts[i]) if wanted.return_documents else None,
        )
        for i, one in work.best_first(scored, wanted.top_n or None)
    ]


def _text(position: int, document: str | Fields, wanted: RerankRequest) -> str:
    """What the model reads of one document."""
    if isinstance(document, str):
        return document
    names = wanted.rank_fields or ["text"]
    found = [str(document[name]) for name in names if document.get(name) is not None]
    if not found:
        fields = [f"{name} (null)" if document[name] is None else name for name in document]
        raise InputError(
            f"documents[{position}] has the fields {', '.join(fields) or '(none)'}; "
            f"expected {' or '.join(names)}"
        )
    return "\n".join(found)


def _fields(document: str | Fields, text: str) -> Fields:
    return {"text": text} | (document if isinstance(document, dict) else {})


async def _max_tokens(service: Service, wanted: RerankRequest) -> int | None:
    """Of each document, by the limits of all three protocols; None without a limit."""
    limits = []
    if wanted.max_tokens_per_doc:
        limits.append(wanted.max_tokens_per_doc)
    if wanted.max_chunks_per_doc:
        limits.append(wanted.max_chunks_per_doc * TOKENS_PER_CHUNK)
    if wanted.truncate_prompt_tokens and wanted.truncate_prompt_tokens > 0:
        query = await work.Tokens(service).count(wanted.query)
        limits.append(max(1, wanted.truncate_prompt_tokens - query - PAIR_SPECIALS))
    return min(limits, default=None)


def meta(version: Literal["1", "2"], tokens: int, wanted: str | None, answered: str) -> Meta:
    """A client has to send a model's name; which one answers is this service's business."""
    warning = f"{wanted!r} was asked for; {answered!r} is what this service runs"
    return Meta(
        api_version=ApiVersion(version=version),
        tokens=InputTokens(input_tokens=tokens),
        warnings=None if wanted in (None, answered) else [warning],
    )


def error(status: int, message: str) -> tuple[int, dict[str, Any]]:
    """The status that Cohere gives, and the reason where each client looks for it."""
    status = {422: 400, 501: 404}.get(status, status)
    kind = "BadRequestError" if status < 500 else "InternalServerError"
    nested = ErrorDetail(message=message, type=kind, code=status)
    said = Error(id=request_id(), message=message, detail=message, error=nested)
    return status, said.model_dump()
