"""Calls of the rerank protocols, for the tests of the dialects."""

from __future__ import annotations

import math
from typing import Any

from starlette.testclient import TestClient

QUERY = "prevent heart disease"
TEXTS = ["no match", "prevent heart disease", "heart", "heart"]
PATHS = ["/rerank", "/v1/rerank", "/v2/rerank"]


def probability(share: float) -> float:
    return 1 / (1 + math.exp(-(1 + 2 * share)))


def post(client: TestClient, path: str, **body: Any) -> Any:
    """The answer, which must be a success."""
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ranked(client: TestClient, path: str = "/v1/rerank", **body: Any) -> Any:
    return post(client, path, **({"model": "m", "query": QUERY, "documents": TEXTS} | body))
