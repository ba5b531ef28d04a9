"""`/v1/embeddings` and `/v1/models` in OpenAI's shape.

Source: the client openai 3.54; it asks for base64 unless a program sets `encoding_format`.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Discriminator, Field, Tag

from search.errors import InputError
from search.serve.dialects import work
from search.serve.dialects.work import Text
from search.serve.queued import Task, Vector
from search.serve.service import Service

OWNER = "two-stage-search"
MAX_INPUTS = 2048
"""As OpenAI's own limit."""
TASKS: dict[str, Task] = {
    "query": "query",
    "search_query": "query",
    "retrieval.query": "query",
    "passage": "passage",
    "document": "passage",
    "search_document": "passage",
    "retrieval.passage": "passage",
}
TOKENS_REFUSED = (
    "expected text: token numbers are those of another model's tokenizer (in LangChain's "
    "OpenAIEmbeddings set check_embedding_ctx_length=False)"
)


def _kind(value: object) -> str | None:
    """None for token numbers, or lists of them."""
    if isinstance(value, list) and value and type(value[0]) in (int, list):
        return None
    return "text" if isinstance(value, str) else "list"


Input = Annotated[Text, Field(min_length=1)]


class EmbeddingsRequest(BaseModel):
    """Texts to be embedded, as passages unless `input_type` (or Jina's `task`) says otherwise."""

    input: Annotated[
        Annotated[Input, Tag("text")]
        | Annotated[list[Input], Field(min_length=1, max_length=MAX_INPUTS), Tag("list")],
        Discriminator(
            _kind, custom_error_type="token_numbers", custom_error_message=TOKENS_REFUSED
        ),
    ]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    input_type: Text | None = None
    task: Text | None = None


class Embedding(BaseModel):
    """A vector as numbers, or as the base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens that the model read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """In the order of the input; `model` is the one that answered."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class Model(BaseModel):
    """A model that runs here."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = OWNER


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: None = None
    code: None = None


class Error(BaseModel):
    """What went wrong."""

    error: ErrorDetail


def router(service: Service) -> APIRouter:
    """OpenAI's paths."""
    routes = APIRouter(
        prefix="/v1",
        tags=["OpenAI"],
        strict_content_type=False,
        responses=work.errors(Error, 400, 404),
    )

    @routes.post("/embeddings")
    async def embeddings(wanted: EmbeddingsRequest) -> EmbeddingsAnswer:
        """One vector of length 1 for each text."""
        texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
        work.check_dimensions(service, wanted.dimensions)
        found = await work.vectors(service, texts, _task(wanted))
        tokens = await work.Tokens(service).read(texts)
        as_text = wanted.encoding_format == "base64"
        return EmbeddingsAnswer(
            data=[
                Embedding(index=i, embedding=base64_of(vector) if as_text else vector.tolist())
                for i, vector in enumerate(found)
            ],
            model=service.models.embedder.info.name,
            usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
        )

    @routes.get("/models")
    async def models() -> ModelList:
        """The embedding model and the reranker."""
        return ModelList(data=[Model(id=name) for name in _names(service)])

    @routes.get("/models/{name:path}")
    async def model(name: str) -> Model:
        """One of them."""
        if name not in _names(service):
            raise HTTPException(404, f"no model {name!r}; here are {', '.join(_names(service))}")
        return Model(id=name)

    return routes


def _names(service: Service) -> list[str]:
    return [str(info["name"]) for info in service.models.meta().values() if info]


def _task(wanted: EmbeddingsRequest) -> Task:
    said = wanted.input_type or wanted.task
    if said is None:
        return "passage"
    if said not in TASKS:
        raise InputError(f"input_type is {said!r}; expected one of {', '.join(TASKS)}")
    return TASKS[said]


def base64_of(vector: Vector) -> str:
    """Its little-endian float32 bytes."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


def error(status: int, message: str) -> tuple[int, dict[str, Any]]:
    """What is invalid is 400 there."""
    status = {422: 400}.get(status, status)
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = "server_error" if status >= 500 else kinds.get(status, "invalid_request_error")
    return status, Error(error=ErrorDetail(message=message, type=kind)).model_dump()
