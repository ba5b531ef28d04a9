"""The page for people: a few static files, served from the package as they are."""

from __future__ import annotations

from hashlib import blake2b
from importlib.resources import files

from fastapi import APIRouter, Request, Response

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    # Nothing from elsewhere, nothing inline, and no script can make HTML of a text.
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Asked for anew each time, and answered by 304: a newer version is seen at once.
    "Cache-Control": "no-cache",
}


def router() -> APIRouter:
    """`/` and the files below `/page/`."""
    routes = APIRouter(include_in_schema=False)
    for file in files(__name__).iterdir():
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in MEDIA_TYPES:
            path = "/" if file.name == "index.html" else f"/page/{file.name}"
            _add(routes, path, file.read_bytes(), MEDIA_TYPES[suffix])
    return routes


def _add(routes: APIRouter, path: str, content: bytes, media_type: str) -> None:
    tag = f'"{blake2b(content, digest_size=8).hexdigest()}"'
    headers = {**HEADERS, "ETag": tag}

    async def answer(request: Request) -> Response:
        known = [one.strip() for one in request.headers.get("If-None-Match", "").split(",")]
        if tag in known or f"W/{tag}" in known:  # a proxy that compresses makes it weak
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    routes.add_api_route(path, answer, methods=["GET", "HEAD"], response_model=None)
