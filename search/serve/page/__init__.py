"""The page for people, and one that shows the API: static files, served as they are."""

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
# Nothing from elsewhere.
_OWN = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; "
)
HEADERS = {
    # Nothing inline, and no script can make HTML of a text.
    "Content-Security-Policy": _OWN + "require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Asked for anew each time, and answered by 304: a newer version is seen at once.
    "Cache-Control": "no-cache",
}
# Swagger UI styles its elements one by one, has pictures in its style sheet, and makes HTML.
DOCS_HEADERS = HEADERS | {
    "Content-Security-Policy": _OWN + "style-src 'self' 'unsafe-inline'; img-src 'self' data:"
}
PATHS = {"index.html": "/", "docs.html": "/docs"}
VIEWER = ("swagger-ui.css", "swagger-ui-bundle.js")


def router() -> APIRouter:
    """`/`, `/docs`, and the files below `/page/`, those of Swagger UI among them."""
    routes = APIRouter(include_in_schema=False)
    viewer = files("fastapi_swagger") / "resources"
    for file in (*files(__name__).iterdir(), *(viewer / name for name in VIEWER)):
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in MEDIA_TYPES:
            _add(routes, file.name, file.read_bytes(), MEDIA_TYPES[suffix])
    return routes


def _add(routes: APIRouter, name: str, content: bytes, media_type: str) -> None:
    tag = f'"{blake2b(content, digest_size=8).hexdigest()}"'
    headers = {**(DOCS_HEADERS if name == "docs.html" else HEADERS), "ETag": tag}

    async def answer(request: Request) -> Response:
        known = [one.strip() for one in request.headers.get("If-None-Match", "").split(",")]
        if tag in known or f"W/{tag}" in known:  # a proxy that compresses makes it weak
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    path = PATHS.get(name, f"/page/{name}")
    routes.add_api_route(path, answer, methods=["GET", "HEAD"], response_model=None)
