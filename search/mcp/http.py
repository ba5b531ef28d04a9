"""The tools over HTTP: who may call, and under which names."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from config import ServeSettings
from search.serve.keys import Access, Refused

PATH = "/mcp"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
STOP_SECONDS = 5


def serve(
    server: MCPServer[Any], listener: socket.socket, access: Access, settings: ServeSettings
) -> None:
    """Answer until the process is stopped. Each request stands for itself: there are no sessions
    that a restart could lose."""
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=settings.max_body_bytes,
        transport_security=protection(settings, listener.getsockname()[0]),
    )
    guarded = Guarded(app, access)
    options = uvicorn.Config(guarded, log_level="warning", timeout_graceful_shutdown=STOP_SECONDS)
    uvicorn.Server(options).run(sockets=[listener])


class Guarded:
    """The application for those whom `access` admits."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = self._app
        if scope["type"] == "http":
            request = Request(scope)
            try:
                self._access.admit(request.method, request.url.path, request.headers)
            except Refused as refused:
                wanted = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else None
                answer = JSONResponse({"error": str(refused)}, refused.status, wanted)
        await answer(scope, receive, send)


def protection(settings: ServeSettings, bound: str) -> TransportSecuritySettings:
    """The SDK's own protection from DNS rebinding; a server with keys needs none.

    A page that leads here under a name of its own has no key. `bound` is the address that the
    server listens on, which may be another one of this machine's own, such as 127.0.0.2.
    """
    names = [*LOOPBACK, f"[{bound}]" if ":" in bound else bound, *settings.hosts]
    hosts = [host for name in names for host in (name, f"{name}:*")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=not settings.keys or bool(settings.hosts),
        allowed_hosts=hosts,
        allowed_origins=[f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts],
    )
