"""The web application: what every request passes through, and the routes behind it."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search.errors import InputError, Overloaded, SearchError, Stopped, StoreError
from search.serve import dialects, metrics, page
from search.serve.caller import Caller, current_caller
from search.serve.service import Service

MAX_BODY_BYTES = 4_000_000
REQUEST_ID = "X-Request-Id"
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def build_app(service: Service) -> FastAPI:
    """The service over HTTP; it closes `service` when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(title="Two-stage search", lifespan=lifespan)
    for router in [page.router(), *dialects.routers(service), metrics.router(service.metrics)]:
        app.include_router(router)
    for kind, handler in {
        StarletteHTTPException: _on_http,
        RequestValidationError: _on_invalid,
        SearchError: _on_search_error,
        Exception: _on_any,
    }.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(Entrance)
    return app


class Entrance:
    """Gives each request its Caller, bounds its body, and notices when the caller has left."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        given = headers.get(REQUEST_ID.lower(), "")
        caller = Caller(given if _SANE_ID.fullmatch(given) else secrets.token_hex(8))
        body = _Body(receive, caller, headers)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (REQUEST_ID.lower().encode(), caller.request_id.encode()),
                ]
            await send(message)

        token = current_caller.set(caller)
        try:
            await self.app(scope, body.receive, answer)
        finally:
            current_caller.reset(token)
            body.close()


class _Body:
    """A request's messages; once the body is read, someone listens for the caller to leave."""

    def __init__(self, receive: Receive, caller: Caller, headers: dict[str, str]) -> None:
        self._receive = receive
        self._caller = caller
        self._announced = headers.get("content-length", "0")
        self._size = 0
        self._gone = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        """The next message. Raises HTTPException 413 for a body that is too large."""
        if self._listener is not None:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        if self._announced.isdecimal() and int(self._announced) > MAX_BODY_BYTES:
            raise self._too_large()
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._caller.left.set()
            return message
        self._size += len(message.get("body", b""))
        if self._size > MAX_BODY_BYTES:
            raise self._too_large()
        if not message.get("more_body", False):
            self._listener = asyncio.create_task(self._listen())
        return message

    def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the request is larger than {MAX_BODY_BYTES:,} bytes")

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._caller.left.set()
        self._gone.set()


def _error(request: Request, status: int, message: str) -> Response:
    status, body = dialects.error(request, status, message)
    return JSONResponse(body, status)


async def _on_http(request: Request, error: Any) -> Response:
    if error.status_code == 400:  # FastAPI's word for bytes or nesting that Python's JSON refuses
        return _error(request, 422, "Invalid JSON: expected UTF-8, and not nested too deep")
    return _error(request, error.status_code, error.detail)


async def _on_invalid(request: Request, error: Any) -> Response:
    return _error(request, 422, "; ".join(map(_problem, error.errors())))


def _problem(problem: Any) -> str:
    if problem["type"] == "json_invalid":
        return f"Invalid JSON: {problem['ctx']['error']} (character {problem['loc'][-1]})"
    where = ".".join(str(part) for part in problem["loc"] if part != "body")
    return f"{where or 'body'}: {problem['msg']}"


async def _on_search_error(request: Request, error: Any) -> Response:
    if isinstance(error, Overloaded):
        return _error(request, 429, str(error))
    away = isinstance(error, (Stopped, StoreError))
    return _error(
        request, 422 if isinstance(error, InputError) else 503 if away else 500, str(error)
    )


async def _on_any(request: Request, error: Any) -> Response:
    return _error(request, 500, f"{type(error).__name__}: {error}")
