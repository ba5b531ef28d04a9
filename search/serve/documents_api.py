"""Documents over HTTP: added, listed, shown and deleted."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from starlette.convertors import PathConvertor, register_url_convertor

from search.answer import document_json, source_json
from search.serve.service import Service
from search.serve.shapes import Deleted, DocumentPage, Problem, UploadParameters, WholeDocument
from search.serve.upload import MULTIPART, NDJSON, receive
from search.store import Store
from search.types import Listed

ACCEPTED = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "description": 'a record, an array of them, or {"documents": [...]}',
                    "anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}],
                },
                "example": {"id": "1", "title": "Walking", "text": "Walk half an hour a day."},
            },
            NDJSON: {"schema": {"type": "string", "description": "a record a line"}},
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "any format that ingest reads; the name decides",
                        }
                    },
                }
            },
        },
    }
}
ANSWERED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A line for each record (DocumentLine), then one that counts (SummaryLine)",
        "content": {NDJSON: {"schema": {"type": "string"}}},
    },
}
ABSENT: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "No document has this id"}
}


class IdConvertor(PathConvertor):
    """Any text: the rest of a path, which `:path` ends at a line break."""

    regex = "(?s:.*)"


register_url_convertor("id", IdConvertor())


def router(service: Service) -> APIRouter:
    """The routes of the documents."""
    routes = APIRouter(tags=["documents"])

    @routes.post(
        "/documents",
        openapi_extra=ACCEPTED,
        responses=ANSWERED,
        response_class=StreamingResponse,
    )
    async def add(
        request: Request, wanted: Annotated[UploadParameters, Query()]
    ) -> StreamingResponse:
        """Store documents; each ends as stored, unchanged or rejected, in a line of the answer.

        A document of the same id with other content is replaced only with `take_over=true`.
        """
        upload = await receive(service, request, wanted)
        return StreamingResponse(upload.lines(), media_type=NDJSON)

    @routes.get("/documents")
    async def documents(
        after: Annotated[str | None, Query(description="the `next` of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> DocumentPage:
        """A page of the documents, in the store's own order."""
        return await service.in_thread(lambda: _page(service.searcher.store, after or None, limit))

    @routes.get("/documents/{document_id:id}", responses=ABSENT)
    async def document(document_id: str) -> WholeDocument:
        """One document, passage by passage."""
        found = await service.in_thread(lambda: service.searcher.store.get(document_id))
        if found is None:
            raise _unknown(document_id)
        return WholeDocument.model_validate(document_json(found))

    @routes.delete("/documents/{document_id:id}", responses=ABSENT)
    async def delete(document_id: str) -> Deleted:
        """Remove one document."""

        def work() -> int:
            with service.writing() as store:
                return store.delete([document_id])

        async with service.writers_turn():
            removed = await service.in_thread(work)
        if not removed:
            raise _unknown(document_id)
        return Deleted(deleted=document_id)

    return routes


def _unknown(document_id: str) -> HTTPException:
    return HTTPException(404, f"no document has the id {document_id!r}; GET /documents lists them")


def _page(store: Store, after: str | None, limit: int) -> DocumentPage:
    found = list(islice(store.documents(after), limit + 1))
    more = len(found) > limit
    return DocumentPage.model_validate(
        {
            "documents": [_listed(listed) for listed in found[:limit]],
            "next": found[limit - 1].id if more else None,
            "total": store.describe().documents,
        }
    )


def _listed(listed: Listed) -> dict[str, Any]:
    source = source_json(listed.source)
    return {"id": listed.id, "title": listed.title, "source": source, "passages": listed.passages}
