"""The protocols that others speak, one module for each; the same models behind all of them."""

from __future__ import annotations

from fastapi import APIRouter

from search.serve.dialects import weaviate
from search.serve.service import Service


def routers(service: Service) -> list[APIRouter]:
    """The routes of every dialect."""
    return [weaviate.router(service)]
