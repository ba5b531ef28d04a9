"""The routes that Weaviate's modules call; errors are `{"error": …}`, success is exactly 200.

Source: weaviate/usecases/modulecomponents/clients/transformers and
modules/reranker-transformers/clients/ranker.go (1.39).
"""

from __future__ import annotations

import asyncio
import math

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from search.errors import InputError
from search.serve.merging import Answer, Result, Stopped
from search.serve.models import Task
from search.serve.service import Service

GONE_SECONDS = 1.0


class VectorConfig(BaseModel):
    """What Weaviate says of a text; the pooling is the model's own, whatever it asks for."""

    task_type: Task = "passage"
    dimensions: int | None = None


class VectorRequest(BaseModel):
    """One text to embed."""

    text: str
    config: VectorConfig = VectorConfig()


class VectorAnswer(BaseModel):
    """Its vector; older versions of Weaviate read `dim`, newer ones `dims`."""

    text: str
    vector: list[float]
    dim: int
    dims: int


class RerankRequest(BaseModel):
    """A query and the texts to be scored for it."""

    query: str
    documents: list[str]
    property: str = ""


class DocumentScore(BaseModel):
    document: str
    score: float


class RerankAnswer(BaseModel):
    """Scores in input order, one for each document: Weaviate takes them by position."""

    query: str
    scores: list[DocumentScore]
    property: str
    score: float


def router(service: Service) -> APIRouter:
    """Its routes; Weaviate sends no content type."""
    models = service.models
    routes = APIRouter(tags=["Weaviate"], strict_content_type=False)

    @routes.post("/vectors")
    async def vectors(request: Request, wanted: VectorRequest) -> VectorAnswer:
        """The vector of one text."""
        if wanted.config.dimensions not in (None, models.dimensions):
            raise InputError(
                f"dimensions is {wanted.config.dimensions}; this model's vectors have "
                f"{models.dimensions}"
            )
        (vector,) = await result(request, models.vector(wanted.text, wanted.config.task_type))
        size = len(vector)
        return VectorAnswer(text=wanted.text, vector=vector.tolist(), dim=size, dims=size)

    @routes.post("/rerank")
    async def rerank(request: Request, wanted: RerankRequest) -> RerankAnswer:
        """The probability of each document that it answers the query."""
        if not models.reranks:
            raise HTTPException(501, "this service runs without a reranker (rerank: false)")
        found = await result(request, models.scores(wanted.query, wanted.documents))
        if not all(map(math.isfinite, found)):
            raise RuntimeError("the reranker gave a score that is not a number")
        pairs = zip(wanted.documents, found, strict=True)
        return RerankAnswer(
            query=wanted.query,
            scores=[DocumentScore(document=text, score=score) for text, score in pairs],
            property=wanted.property,
            score=max(found, default=0.0),
        )

    @routes.get("/meta")
    async def meta() -> dict[str, dict[str, str | int | float | None] | None]:
        """Which models run here."""
        return models.meta()

    @routes.get("/.well-known/live", status_code=204)
    async def live() -> None:
        """Whether the process answers."""

    @routes.get("/.well-known/ready", status_code=204)
    async def ready() -> Response:
        """Whether the models answer; they are loaded before the port opens, but may be stuck."""
        fault = models.fault()
        return Response(status_code=204) if fault is None else JSONResponse({"error": fault}, 503)

    return routes


async def result(request: Request, answer: Answer[Result]) -> list[Result]:
    """What the model answers; work for a caller who has left is given up."""
    waiting = asyncio.wrap_future(answer)
    try:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=GONE_SECONDS)
            if not waiting.done() and await request.is_disconnected():
                answer.abandon()
        return await waiting
    except asyncio.CancelledError:
        answer.abandon()
        raise Stopped("the service is stopping, or the caller has left") from None
