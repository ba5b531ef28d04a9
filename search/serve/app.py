"""The routes that Weaviate's modules call; errors are `{"error": …}`, success is exactly 200.

Source: weaviate/usecases/modulecomponents/clients/transformers and
modules/reranker-transformers/clients/ranker.go (1.39).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from search.errors import InputError, SearchError
from search.serve.merging import Answer, Overloaded, Result, Stopped
from search.serve.models import Models, Task

# Weaviate asks for one text, or for the scores of 32; our own passages have some thousand bytes.
MAX_BODY_BYTES = 4_000_000
GONE_SECONDS = 1.0


class VectorConfig(BaseModel):
    """What Weaviate says of a text; the pooling is the model's own, whatever it asks for."""

    task_type: Task = "passage"
    dimensions: int | None = None


class VectorRequest(BaseModel):
    text: str
    config: VectorConfig = VectorConfig()


class RerankRequest(BaseModel):
    query: str
    documents: list[str]
    property: str = ""


def build_app(models: Models) -> Starlette:
    """The service over these models; it closes them when it stops."""

    async def vectors(request: Request) -> Response:
        wanted = VectorRequest.model_validate_json(await _body(request))
        if wanted.config.dimensions not in (None, models.dimensions):
            raise InputError(
                f"dimensions is {wanted.config.dimensions}; this model's vectors have "
                f"{models.dimensions}"
            )
        task = wanted.config.task_type
        (vector,) = await _result(request, models.vector(wanted.text, task))
        size = len(vector)
        answer = {"text": wanted.text, "vector": vector.tolist(), "dim": size, "dims": size}
        return JSONResponse(answer)

    async def rerank(request: Request) -> Response:
        wanted = RerankRequest.model_validate_json(await _body(request))
        if not models.reranks:
            raise HTTPException(501, "this service runs without a reranker (rerank: false)")
        found = await _result(request, models.scores(wanted.query, wanted.documents))
        if not all(map(math.isfinite, found)):
            raise RuntimeError("the reranker gave a score that is not a number")
        pairs = zip(wanted.documents, found, strict=True)
        return JSONResponse(
            {
                "query": wanted.query,
                # Weaviate takes scores by position: input order, one for each document.
                "scores": [{"document": text, "score": score} for text, score in pairs],
                "property": wanted.property,
                "score": max(found, default=0.0),
            }
        )

    async def meta(request: Request) -> Response:
        return JSONResponse(models.meta())

    async def alive(request: Request) -> Response:
        return Response(status_code=204)

    async def ready(request: Request) -> Response:
        """The models are loaded before the port opens; later one may be stuck."""
        fault = models.fault()
        return Response(status_code=204) if fault is None else _error(503, fault)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(models.close)

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/vectors", vectors, methods=["POST"]),
            Route("/rerank", rerank, methods=["POST"]),
            Route("/meta", meta),
            Route("/.well-known/ready", ready),
            Route("/.well-known/live", alive),
        ],
        exception_handlers={
            HTTPException: _on_http,
            ValidationError: _on_invalid,
            SearchError: _on_search_error,
            Exception: _on_any,
        },
    )


async def _body(request: Request) -> bytes:
    """The whole body, if it is not too large to take on."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"the request is larger than {MAX_BODY_BYTES:,} bytes")
    return bytes(body)


async def _result(request: Request, answer: Answer[Result]) -> list[Result]:
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


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status_code=status)


async def _on_http(request: Request, error: Any) -> Response:
    return _error(error.status_code, error.detail)


async def _on_invalid(request: Request, error: Any) -> Response:
    problems = (f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors())
    return _error(422, "; ".join(problems))


async def _on_search_error(request: Request, error: Any) -> Response:
    passing = isinstance(error, (Overloaded, Stopped))
    status = 422 if isinstance(error, InputError) else 503 if passing else 500
    return _error(status, str(error))


async def _on_any(request: Request, error: Any) -> Response:
    return _error(500, f"{type(error).__name__}: {error}")
