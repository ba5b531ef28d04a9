"""What the tests of classes that others made ask a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weaviate_nodes import Server

import config
from search.filters import parse_filters
from search.store import Store
from search.types import Candidate, RetrievalMode

QUESTIONS = [
    {"category": "SCIENCE", "question": "Plants take this gas from the air", "answer": "CO2"},
    {"category": "ANIMALS", "question": "This mammal has a trunk", "answer": "Elephant"},
    {"category": "ANIMALS", "question": "The largest land animal with tusks", "answer": "Elephant"},
]

Open = Callable[..., Store]


def settings_of(server: Server, name: str, **options: Any) -> config.Settings:
    own = {f"weaviate.{option}": value for option, value in options.items()}
    return config.load(server.flags | {"weaviate.collection": name} | own, {}, [])


def found(store: Store, query: str, mode: RetrievalMode = "hybrid", *where: str) -> list[Candidate]:
    return store.retrieve(query, 10, parse_filters(where), mode)


def notes(store: Store) -> str:
    return "\n".join(store.describe().notes)
