"""The protocols that others speak, one module for each; the same models behind all of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from search.serve.caller import request_id
from search.serve.dialects import cohere, cohere_embed, openai, rerank, tei, weaviate
from search.serve.service import Service

ERRORS = {"cohere": cohere.error, "openai": openai.error, "tei": tei.error}
PATHS = {
    "/v1/rerank": "cohere",
    "/v2/rerank": "cohere",
    "/v1/embed": "cohere",
    "/v2/embed": "cohere",
    "/v1/embeddings": "openai",
    "/v1/models": "openai",
    "/embed": "tei",
    "/info": "tei",
    "/health": "tei",
}


def routers(service: Service) -> list[APIRouter]:
    """The routes of every dialect."""
    modules = (cohere, cohere_embed, openai, rerank, tei, weaviate)
    return [module.router(service) for module in modules]


def error(request: Request, status: int, message: str) -> tuple[int, dict[str, Any]]:
    """Status and body as the client of this path expects them; our own API's where none does."""
    of_path = PATHS.get("/".join(request.url.path.split("/")[:3]))
    protocol = getattr(request.state, "protocol", of_path)
    if protocol in ERRORS:
        return ERRORS[protocol](status, message)
    return status, {"error": message, "request_id": request_id()}
