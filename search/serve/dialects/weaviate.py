"""The routes that Weaviate's modules call; errors are `{"error": …}`, success is exactly 200.

Source: weaviate/usecases/modulecomponents/clients/transformers and
modules/reranker-transformers/clients/ranker.go (1.39).
"""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from search.serve.dialects import work
from search.serve.dialects.work import Text
from search.serve.queued import Task
from search.serve.service import Service


class VectorConfig(BaseModel):
    """What Weaviate says of a text; the pooling is the model's own, whatever it asks for."""

    task_type: Task = "passage"
    dimensions: int | None = None


class VectorRequest(BaseModel):
    """One text to embed."""

    text: Text
    config: VectorConfig = VectorConfig()


class VectorAnswer(BaseModel):
    """Its vector; older versions of Weaviate read `dim`, newer ones `dims`."""

    text: str
    vector: list[float]
    dim: int
    dims: int


class RerankRequest(BaseModel):
    """A query and the texts to be scored for it."""

    query: Text
    documents: list[Text]
    property: Text = ""


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
    async def vectors(wanted: VectorRequest) -> VectorAnswer:
        """The vector of one text."""
        work.check_dimensions(service, wanted.config.dimensions)
        (vector,) = await work.vectors(service, [wanted.text], wanted.config.task_type)
        size = len(vector)
        return VectorAnswer(text=wanted.text, vector=vector.tolist(), dim=size, dims=size)

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
        faults = models.fault()
        error = {"error": "; ".join(faults.values())}
        return JSONResponse(error, 503) if faults else Response(status_code=204)

    return routes


async def reranked(service: Service, wanted: RerankRequest) -> RerankAnswer:
    """Probabilities in input order."""
    found = await work.scores(service, wanted.query, wanted.documents, "weaviate")
    chances = [found.probability(scored.logit) for scored in found]
    pairs = zip(wanted.documents, chances, strict=True)
    return RerankAnswer(
        query=wanted.query,
        scores=[DocumentScore(document=text, score=score) for text, score in pairs],
        property=wanted.property,
        score=max(chances, default=0.0),
    )
