"""The one `/rerank` that TEI, Cohere's imitators and Weaviate share: the body says who asks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import Discriminator, Tag

from search.serve.dialects import cohere, tei, weaviate, work
from search.serve.service import Service
from search.serve.shapes import Problem


def protocol_of(body: object) -> str:
    """ "tei", "cohere" or "weaviate", for a body or what was made of it."""
    if isinstance(body, dict):
        if "texts" in body:
            return "tei"
        return "cohere" if cohere.RerankRequest.is_meant_by(body) else "weaviate"
    kinds: dict[type, str] = {tei.RerankRequest: "tei", cohere.RerankRequest: "cohere"}
    return kinds.get(type(body), "weaviate")


AnyRequest = Annotated[
    Annotated[tei.RerankRequest, Tag("tei")]
    | Annotated[cohere.RerankRequest, Tag("cohere")]
    | Annotated[weaviate.RerankRequest, Tag("weaviate")],
    Discriminator(protocol_of),
]


class SharedRoute(APIRoute):
    """An error in a body has the shape of the protocol that the body was taken for."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await answer(request)
            except RequestValidationError as error:
                request.state.protocol = protocol_of(error.body)
                raise

        return handle


def router(service: Service) -> APIRouter:
    """`POST /rerank`; Weaviate sends no content type."""
    errors = work.errors(Problem | cohere.Error | tei.Error, 400, 404, 424, 501)
    routes = APIRouter(
        tags=["rerank"], strict_content_type=False, route_class=SharedRoute, responses=errors
    )

    @routes.post("/rerank", response_model_exclude_none=True)
    async def rerank(
        request: Request, wanted: AnyRequest
    ) -> weaviate.RerankAnswer | cohere.RerankAnswer | list[tei.Rank]:
        """`texts`: as TEI; a field that only Cohere, Jina or vLLM have: as they; else Weaviate."""
        request.state.protocol = protocol_of(wanted)
        if isinstance(wanted, tei.RerankRequest):
            return await tei.reranked(service, wanted)
        if isinstance(wanted, cohere.RerankRequest):
            return await cohere.reranked(service, wanted)
        return await weaviate.reranked(service, wanted)

    return routes
