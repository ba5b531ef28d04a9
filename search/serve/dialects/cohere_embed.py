"""`/v1/embed` and `/v2/embed` as Cohere's clients call them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from search.serve.caller import request_id
from search.serve.dialects import cohere, openai, work
from search.serve.dialects.work import Text
from search.serve.queued import Task, Vector
from search.serve.service import Service


class EmbedRequest(BaseModel):
    """Texts to be embedded; with `search_query` as queries, otherwise as passages."""

    texts: Annotated[list[Text], Field(min_length=1)]
    model: Text | None = None
    input_type: Literal["search_query", "search_document", "classification", "clustering"] = (
        "search_document"
    )
    embedding_types: list[Literal["float", "base64"]] | None = None
    output_dimension: int | None = None
    truncate: Annotated[
        Literal["END", "NONE"], Field(description="NONE: refuse a text that is too long")
    ] = "END"


class Embeddings(BaseModel):
    """In each form that was asked for."""

    model_config = ConfigDict(populate_by_name=True)

    floats: Annotated[list[list[float]] | None, Field(alias="float")] = None
    base64: list[str] | None = None


class ByType(BaseModel):
    """v2's answer, and v1's where `embedding_types` were asked for."""

    response_type: Literal["embeddings_by_type"] = "embeddings_by_type"
    id: str
    embeddings: Embeddings
    texts: list[str]
    meta: cohere.Meta


class Floats(BaseModel):
    """v1's answer."""

    response_type: Literal["embeddings_floats"] = "embeddings_floats"
    id: str
    embeddings: list[list[float]]
    texts: list[str]
    meta: cohere.Meta


def router(service: Service) -> APIRouter:
    """Both versions."""
    routes = APIRouter(
        tags=["Cohere, Jina and vLLM"],
        strict_content_type=False,
        responses=work.errors(cohere.Error, 400),
    )

    @routes.post("/v1/embed", response_model_exclude_none=True)
    async def embed_v1(wanted: EmbedRequest) -> Floats | ByType:
        """One vector of length 1 for each text (Cohere v1)."""
        vectors = await _vectors(service, wanted)
        common = await _common(service, wanted, "1")
        if wanted.embedding_types is not None:
            return ByType(embeddings=_by_type(vectors, wanted), **common)
        return Floats(embeddings=[vector.tolist() for vector in vectors], **common)

    @routes.post("/v2/embed", response_model_exclude_none=True)
    async def embed_v2(wanted: EmbedRequest) -> ByType:
        """One vector of length 1 for each text (Cohere v2)."""
        vectors = await _vectors(service, wanted)
        common = await _common(service, wanted, "2")
        return ByType(embeddings=_by_type(vectors, wanted), **common)

    return routes


async def _vectors(service: Service, wanted: EmbedRequest) -> list[Vector]:
    work.check_dimensions(service, wanted.output_dimension)
    if wanted.truncate == "NONE":
        await work.check_lengths(service, wanted.texts, "texts")
    task: Task = "query" if wanted.input_type == "search_query" else "passage"
    return await work.vectors(service, wanted.texts, task)


async def _common(
    service: Service, wanted: EmbedRequest, version: Literal["1", "2"]
) -> dict[str, Any]:
    tokens = await work.Tokens(service).read(wanted.texts)
    name = service.models.embedder.info.name
    meta = cohere.meta(version, tokens, wanted.model, name)
    return {"id": request_id(), "texts": wanted.texts, "meta": meta}


def _by_type(vectors: Sequence[Vector], wanted: EmbedRequest) -> Embeddings:
    kinds = wanted.embedding_types or ["float"]
    return Embeddings(
        floats=[vector.tolist() for vector in vectors] if "float" in kinds else None,
        base64=[openai.base64_of(vector) for vector in vectors] if "base64" in kinds else None,
    )
