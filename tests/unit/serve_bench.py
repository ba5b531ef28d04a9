"""The service in this process: a real embedded store, stand-in models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from serve_fakes import Lengths, Share

import config
from search.serve.app import build_app
from search.serve.models import Models
from search.serve.service import Service

RECORDS = [
    {"id": "walk", "title": "Walking", "text": "walk to prevent heart disease", "year": 2020},
    {"id": "salt", "title": "Salt", "text": "less salt is good for the heart", "year": 2022},
    {"id": "eye", "title": "Eyes", "text": "a cataract clouds the lens", "tags": ["eye", "old"]},
]
JSON_LINES = "application/x-ndjson"


class Directions(Lengths):
    """Vectors of length 1, as a store wants them, and longer passages."""

    def encode_passages(self, texts: list[str]) -> NDArray[np.float32]:
        vectors = super().encode_passages(texts)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_query(self, text: str) -> NDArray[np.float32]:
        return np.array([1, 0], np.float32)


@contextmanager
def serving(folder: Path, reranker: Share | None = None, **settings: Any) -> Iterator[TestClient]:
    loaded = config.load({"store": str(folder / "s.db"), **settings}, {}, [])
    service = Service.over(loaded, Models(Directions(), reranker or Share()))
    with TestClient(build_app(service), raise_server_exceptions=False) as client:
        yield client


def lines(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == JSON_LINES
    return [json.loads(line) for line in answer.text.splitlines()]
