"""A service over stand-in models and a store that lies in memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import cast

import numpy as np
from fakes import ListStore
from numpy.typing import NDArray

import config
from search.embed import PassageTokenizer
from search.errors import QueryTooLong
from search.models.tokens import Span, Tokens
from search.rerank import Blend, Scored
from search.rerank.blend import Formula
from search.serve.models import Models
from search.serve.service import Service
from search.store import Store
from search.types import EmbeddingInfo


class Words:
    """A tokenizer of words; a model that reads eight of them, and one special token."""

    max_passage_tokens = 8

    def token_offsets(self, text: str) -> list[Span]:
        return [word.span() for word in re.finditer(r"\S+", text)]

    def inputs(self, texts: Sequence[str]) -> list[Tokens]:
        counts = [min(8, len(self.token_offsets(text))) + 1 for text in texts]
        return [Tokens([0] * count, [0] * count) for count in counts]


class Lengths:
    """A vector of (characters, 1) for a passage, (characters, 0) for a query."""

    info = EmbeddingInfo("lengths", "1", 2)
    tokenizer = cast(PassageTokenizer, Words())

    def encode_passages(self, texts: list[str]) -> NDArray[np.float32]:
        return np.array([[len(text), 1] for text in texts], np.float32).reshape(-1, 2)

    def encode_query(self, text: str) -> NDArray[np.float32]:
        return np.array([len(text), 0], np.float32)

    def unreadable(self, text: str) -> str | None:
        return None

    def unread_tokens(self, query: str) -> int:
        return 0


class Share:
    """A logit is the share of the query's words that a text has."""

    info: Mapping[str, str | int] = {"name": "share"}
    blend = Blend((Formula(1.0, {"logit": 2.0}), Formula(5.0, {"logit": 9.0, "cosine": 1.0})))

    def readable(self, query: str) -> str:
        return query[:100]

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        if any(len(query) > 100 for query, _ in pairs):
            raise QueryTooLong("the query is too long")
        return [
            Scored(self.logit(*pair), (0, len(pair[1])), len(" ".join(pair).split()))
            for pair in pairs
        ]

    def logit(self, query: str, text: str) -> float:
        if "nan" in text:
            return float("nan")
        return len(set(query.split()) & set(text.split())) / len(query.split())


def make_service(
    store: Store | None = None,
    *,
    models: Models | None = None,
    reranker: bool = True,
    **settings: object,
) -> Service:
    """A service over `store` (an empty one), `models` (stand-ins) and these settings."""
    held = store or ListStore([])
    return Service(
        config.load(settings, {}, []),
        models or Models(Lengths(), Share() if reranker else None),
        lambda: held,
        lambda: nullcontext(held),
    )
