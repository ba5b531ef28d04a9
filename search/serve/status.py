"""What runs here, and whether it is well."""

from __future__ import annotations

import anyio
from fastapi import APIRouter, Response

from search.errors import SearchError
from search.serve.caller import current_caller
from search.serve.service import Service
from search.serve.shapes import Defaults, Live, Part, Ready, Status, StoreShape
from search.terminal import program_version

LOOK_SECONDS = 5.0
"""A store that does not answer in this time is away."""


def router(service: Service) -> APIRouter:
    """`/status`, `/live` and `/ready`."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/status")
    async def status() -> Status:
        """The store, the models, the metadata fields, and what a search does by default."""
        return await service.in_thread(lambda: _status(service))

    @routes.get("/live")
    async def live() -> Live:
        """The process answers."""
        return Live()

    @routes.get("/ready", responses={503: {"model": Ready}})
    async def ready(response: Response) -> Ready:
        """Whether each part is well; 503 when one is not."""
        found = await parts(service)
        if not all(part.ok for part in (found.store, found.encoder, found.reranker)):
            response.status_code = 503
        return found

    return routes


async def parts(service: Service) -> Ready:
    """What each part has to say for itself."""
    faults = service.models.fault()
    return Ready(
        store=await _store(service),
        encoder=_part(faults.get("embedder")),
        reranker=_part(faults.get("reranker")),
    )


async def _store(service: Service) -> Part:
    def look() -> str | None:
        try:
            service.searcher.store.stored(["ready"])
        except SearchError as error:
            return str(error)
        return None

    with anyio.move_on_after(LOOK_SECONDS):
        return _part(await anyio.to_thread.run_sync(look, abandon_on_cancel=True))
    return _part(f"it has not answered for {LOOK_SECONDS:g} s")


def _part(reason: str | None) -> Part:
    return Part(ok=reason is None, reason=reason)


def _status(service: Service) -> Status:
    store = service.searcher.store
    info, meta = store.describe(), service.models.meta()
    caller = current_caller.get()
    fields = store.fields()
    return Status(
        store=StoreShape(
            kind=info.kind,
            location=info.location,
            documents=info.documents,
            passages=info.passages,
            version=info.version,
        ),
        embedding=meta["embedding"],
        reranker=meta["reranker"],
        fields={name: sorted(fields[name]) for name in sorted(fields)},
        defaults=Defaults.model_validate(service.settings, from_attributes=True),
        may_write=service.access.may_write(caller.key if caller else None),
        version=program_version(),
    )
