"""Text Embeddings Inference: `/embed`, `/info`, `/health`, and the shape of its `/rerank`.

Source: text-embeddings-inference, router/src/http (July 2026).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Discriminator, Field, Tag

from search.serve.dialects import work
from search.serve.dialects.work import Text
from search.serve.queued import Task
from search.serve.service import Service

ErrorType = Literal["Validation", "Overloaded", "Unhealthy", "Backend"]
ERROR_TYPES: dict[int, ErrorType] = {
    429: "Overloaded",
    500: "Backend",
    501: "Backend",
    503: "Unhealthy",
}


class RerankRequest(BaseModel):
    """Texts to be put in order. A long one is read in windows, so `truncate` changes nothing."""

    query: Text
    texts: Annotated[list[Text], Field(min_length=1)]
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool | None = None
    truncation_direction: Literal["left", "right", "Left", "Right"] = "right"


class Rank(BaseModel):
    """One text: its position in the request, and a probability, or the logit as `raw_scores`."""

    index: int
    text: str | None = None
    score: float


class EmbedRequest(BaseModel):
    """Texts to be embedded; `prompt_name` says whether they are queries or passages."""

    inputs: Annotated[
        Annotated[Text, Tag("text")] | Annotated[list[Text], Field(min_length=1), Tag("list")],
        Discriminator(
            lambda value: {str: "text", list: "list"}.get(type(value)),
            custom_error_type="inputs",
            custom_error_message="expected a string, or a list of strings",
        ),
    ]
    truncate: Annotated[
        bool | None, Field(description="false: refuse a text that is too long; else it is cut")
    ] = None
    truncation_direction: Literal["right", "Right"] = "right"
    prompt_name: Literal["query", "passage", "document"] | None = None
    normalize: Annotated[
        Literal[True] | None, Field(description="vectors have length 1, always")
    ] = None
    dimensions: int | None = None


class Info(BaseModel):
    """What runs here."""

    model_id: str
    model_sha: str
    model_dtype: str
    model_type: dict[str, dict[str, Any]]
    max_input_length: int
    auto_truncate: Literal[True] = True
    version: str


class Error(BaseModel):
    """What went wrong, and of what kind it is."""

    error: str
    error_type: ErrorType


def router(service: Service) -> APIRouter:
    """The paths that are TEI's alone."""
    routes = APIRouter(
        tags=["Text Embeddings Inference"],
        strict_content_type=False,
        responses=work.errors(Error, 424),
    )

    @routes.post("/embed")
    async def embed(wanted: EmbedRequest) -> list[list[float]]:
        """One vector for each text, or one in a list for a single text."""
        texts = [wanted.inputs] if isinstance(wanted.inputs, str) else wanted.inputs
        work.check_dimensions(service, wanted.dimensions)
        if wanted.truncate is False:
            await work.check_lengths(service, texts, "inputs")
        task: Task = "query" if wanted.prompt_name == "query" else "passage"
        found = await work.vectors(service, texts, task)
        return [vector.tolist() for vector in found]

    @routes.get("/info")
    async def info(request: Request) -> Info:
        """Which models run here; one service is both of TEI's kinds."""
        meta = service.models.meta()
        kinds: dict[str, dict[str, Any]] = {"embedding": {"pooling": "mean"}}
        if meta["reranker"] is not None:
            kinds["reranker"] = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
        return Info(
            model_id=meta["embedding"]["name"],
            model_sha=meta["embedding"]["revision"],
            model_dtype="float32",
            model_type=kinds,
            max_input_length=work.Tokens(service).most,
            version=request.app.version,
        )

    @routes.get("/health", response_class=Response)
    async def health() -> Response:
        """200 while the models answer, else 503."""
        faults = service.models.fault()
        if not faults:
            return Response()
        status, body = error(503, "; ".join(faults.values()))
        return JSONResponse(body, status)

    return routes


async def reranked(service: Service, wanted: RerankRequest) -> list[Rank]:
    """The texts best first."""
    scored = await work.scores(service, wanted.query, wanted.texts, "tei")
    return [
        Rank(
            index=i,
            text=wanted.texts[i] if wanted.return_text else None,
            score=one.logit if wanted.raw_scores else scored.probability(one.logit),
        )
        for i, one in work.best_first(scored)
    ]


def error(status: int, message: str) -> tuple[int, dict[str, Any]]:
    """A model that fails is 424 there, and so is one that is absent."""
    kind: ErrorType = ERROR_TYPES.get(status, "Validation")
    status = {500: 424, 501: 424}.get(status, status)
    return status, Error(error=message, error_type=kind).model_dump()
