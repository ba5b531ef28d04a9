"""The web application: what every request passes through, and the routes behind it."""

from __future__ import annotations

import asyncio
import difflib
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search.errors import (
    ConfigError,
    InputError,
    Overloaded,
    SearchError,
    Stopped,
    StoreError,
)
from search.serve import dialects, documents_api, metrics, page, search_api, status
from search.serve.caller import Caller, current_caller
from search.serve.keys import READING, Refused
from search.serve.limits import Body
from search.serve.service import Service
from search.serve.shapes import Problem
from search.terminal import program_version

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No key, or one that is not known"},
    403: {"model": Problem, "description": "The key, or the caller's origin, does not allow it"},
    408: {"model": Problem, "description": "The body came too slowly"},
    413: {"model": Problem, "description": "The body is too large"},
    415: {"model": Problem, "description": "A content type that cannot be read"},
    421: {"model": Problem, "description": "Called by a name that is not this service's"},
    422: {"model": Problem, "description": "The request is not as described here"},
    429: {"model": Problem, "description": "Too much waits; Retry-After says when to try again"},
    500: {"model": Problem, "description": "A fault of the service; its log says more"},
    503: {"model": Problem, "description": "The store or a model is away"},
}
MOST_ERRORS, LONGEST_NAME = 10, 60
"""What is told of a request that is wrong throughout: so many errors, of names so long."""
REJECTIONS: Mapping[int, metrics.Rejection] = {
    400: "invalid",
    401: "key",
    403: "key",
    413: "too large",
    415: "invalid",
    422: "invalid",
    429: "overloaded",
}
PROBES = frozenset(
    {"/live", "/ready", "/health", "/.well-known/live", "/.well-known/ready", "/meta", "/metrics"}
)
"""What Docker, Weaviate and Prometheus ask every few seconds."""
LEFT = 499
"""What is counted where the caller left before there was an answer; nobody sees that one."""
HEADERS = [(b"x-content-type-options", b"nosniff")]


def build_app(service: Service) -> FastAPI:
    """The service over HTTP; it closes `service` when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="Two-stage search",
        version=program_version(),
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own loads its viewer from a CDN; `page` has one
        redoc_url=None,
        responses=PROBLEMS,
        # Described only where it is so; `Entrance` asks for it.
        dependencies=[Security(HTTPBearer(auto_error=False, description="see `serve.keys`"))]
        if service.settings.serve.keys
        else [],
    )
    routers = (
        search_api.router(service),
        documents_api.router(service),
        status.router(service),
        metrics.router(service.metrics),
        page.router(),
        *dialects.routers(service),
    )
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes]
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(SearchError, _on_search_error)
    app.add_middleware(Entrance, service=service)
    return app


class Entrance:
    """Every request: who asks and whether they may, how much they send, and what came of it."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        given = headers.get(REQUEST_ID.lower(), "")
        caller = Caller(given if _SANE_ID.fullmatch(given) else secrets.token_hex(8))
        token = current_caller.set(caller)
        answer = _Answer(send, caller)
        try:
            await self._answered(scope, receive, answer, caller, headers)
        finally:
            self._note(scope, caller, answer)
            current_caller.reset(token)

    async def _answered(
        self,
        scope: Scope,
        receive: Receive,
        answer: _Answer,
        caller: Caller,
        headers: Mapping[str, str],
    ) -> None:
        method, path = scope["method"], scope["path"]
        try:
            port = (scope.get("server") or (None, None))[1]
            caller.key = self.service.access.admit(method, path, headers, port)
        except Refused as refused:
            response = problem(Request(scope), refused.status, str(refused))
            if refused.status == 401:
                response.headers["WWW-Authenticate"] = "Bearer"
            await response(scope, receive, answer.send)
            return
        settings = self.service.settings.serve
        uploads = path == "/documents" and method not in READING
        body = (
            Body(receive, caller, headers, settings.max_upload_bytes, seconds=float("inf"))
            if uploads
            else Body(receive, caller, headers, settings.max_body_bytes)
        )
        try:
            await self.app(scope, body.receive, answer.send)
        except asyncio.CancelledError:
            if not self.service.stopping.is_set():
                raise
            # The time for what runs is over; who waits hears of it, rather than nothing.
            await self._give_up(scope, receive, answer, 503, "the service stopped; ask again")
        except ClientDisconnect:
            pass  # in the middle of what it sent
        except Exception:
            logger.exception("a request failed")
            fault = "a fault of the service: its log says more"
            await self._give_up(scope, receive, answer, 500, fault)
        finally:
            body.close()

    async def _give_up(
        self, scope: Scope, receive: Receive, answer: _Answer, status: int, message: str
    ) -> None:
        if not answer.status:
            await problem(Request(scope), status, message)(scope, receive, answer.send)

    def _note(self, scope: Scope, caller: Caller, answer: _Answer) -> None:
        """One line of log, and a measurement. The route is as declared: it names no document."""
        route = getattr(scope.get("route"), "path", None) or "none"
        seconds = time.monotonic() - caller.arrived
        status = answer.status or LEFT
        self.service.metrics.request(route, status, seconds)
        if status in REJECTIONS:
            self.service.metrics.rejected(REJECTIONS[status])
        fields = {
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            **({"key": caller.key} if caller.key else {}),
            **caller.notes,
        }
        logger.log(
            _level(scope["path"], status),
            "answered" if answer.complete else "left",
            extra={"fields": fields},
        )


def _level(path: str, status: int) -> int:
    """A probe is logged where it finds that something is wrong."""
    if status >= 500:
        return logging.ERROR
    return logging.DEBUG if path in PROBES and status < 400 else logging.INFO


class _Answer:
    """Passes on what is sent, with the headers that every answer has; `status` 0: nothing yet.

    `complete`: all of it was sent while somebody was there to read it.
    """

    def __init__(self, send: Send, caller: Caller) -> None:
        self._send = send
        self._caller = caller
        self._headers = [*HEADERS, (REQUEST_ID.lower().encode(), caller.request_id.encode())]
        self.status = 0
        self.complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = LEFT if self._caller.left.is_set() else message["status"]
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            ours = [header for header in self._headers if header[0] not in names]
            message = {**message, "headers": given + ours}
        elif not message.get("more_body", False):
            self.complete = not self._caller.left.is_set()
        await self._send(message)


def problem(request: Request, status: int, message: str) -> Response:
    """What was found, what was expected, and the fix, in the shape that the client expects."""
    status, body = dialects.error(request, status, message)
    return JSONResponse(body, status)


async def _on_http(request: Request, error: Any) -> Response:
    if error.status_code == 400:  # FastAPI's word for bytes or nesting that Python's JSON refuses
        return problem(request, 422, "Invalid JSON: expected UTF-8, and not nested too deep")
    response = problem(request, error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    if error.status_code == 405 and (methods := _methods(request.scope["path"], request.app)):
        # What there is names the methods of one route only, of those at this path.
        response.headers["Allow"] = ", ".join(methods)
    return response


def _methods(path: str, app: FastAPI) -> list[str]:
    routes: list[Route] = app.state.routes
    here = [route for route in routes if route.path_regex.match(path)]
    return sorted({method for route in here for method in route.methods or ()})


async def _on_invalid(request: Request, error: Any) -> Response:
    if isinstance(error.body, bytes):  # what FastAPI was not told is JSON, and left as it came
        kind = request.headers.get("content-type", "").partition(";")[0] or "none"
        message = f"found the content type {kind}, expected application/json"
        return problem(request, 415, message)
    route = request.scope["route"].dependant
    known = {"body": _names(route.body_params), "query": _names(route.query_params)}
    errors = error.errors()
    found = [_in_words(one, known) for one in errors[:MOST_ERRORS]]
    more = [f"and {len(errors) - MOST_ERRORS:,} more"] if len(errors) > MOST_ERRORS else []
    return problem(request, 422, "; ".join(found + more))


def _names(parameters: Sequence[Any]) -> list[str]:
    """The fields of the models that a route takes its body, or its query, for."""
    kinds = [parameter.field_info.annotation for parameter in parameters]
    return [name for kind in kinds for name in getattr(kind, "model_fields", ())]


def _in_words(found: Any, known: Mapping[str, Sequence[str]]) -> str:
    """`known`: the names that a body and a query may have."""
    kind = found["type"]
    if kind == "json_invalid":
        return f"Invalid JSON: {found['ctx']['error']} (character {found['loc'][-1]})"
    part, *parts = found["loc"]  # of the body, the query or the path: which is plain from the names
    where = ".".join(map(str, parts))[:LONGEST_NAME] or "body"
    if kind == "extra_forbidden":
        names = known.get(part, ())
        similar = difflib.get_close_matches(where, names, 1)
        meant = f"is {similar[0]!r} meant?" if similar else f"expected {', '.join(names)}"
        return f"{where!r} is unknown; {meant}"
    if kind in ("string_too_short", "string_pattern_mismatch"):  # both ask for a word at least
        return f"{where}: empty, expected some words"
    if kind == "string_unicode":
        return f"{where}: found half a character (a lone surrogate), expected whole ones"
    if kind == "model_attributes_type":
        return f"{where}: found {found['input']!r:.40}, expected a JSON object"
    return f"{where}: {found['msg']}"


async def _on_search_error(request: Request, error: Any) -> Response:
    if isinstance(error, Overloaded):
        response = problem(request, 429, str(error))
        response.headers["Retry-After"] = str(error.seconds)
        return response
    if isinstance(error, InputError | ConfigError):
        return problem(request, 422, str(error))
    return problem(request, 503 if isinstance(error, StoreError | Stopped) else 500, str(error))
