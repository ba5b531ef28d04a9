"""What the dialects ask of the models: scores, vectors, and how many tokens those took."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import HTTPException
from pydantic import BeforeValidator

from search.embed import PassageTokenizer
from search.errors import InputError, ModelError, Stopped
from search.rerank import Scored
from search.rerank.provider import Reranker
from search.serve.caller import Answer, Result
from search.serve.queued import MAX_CHARACTERS, Task, Vector
from search.serve.service import Service


def _whole(value: object) -> object:
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_whole)]
"""JSON can hold half a character (a text cut in the middle of an emoji): "?" stands for it, as
nothing could be sent back that has one."""


class Scores(list[Scored]):
    """Results in input order, and the model that they are of."""

    def __init__(self, scored: Sequence[Scored], by: Reranker) -> None:
        super().__init__(scored)
        self.model = str(by.info["name"])
        self.probability = by.blend.probability


async def scores(service: Service, query: str, texts: Sequence[str], protocol: str) -> Scores:
    """One result for each text, in order. Raises HTTPException 501 without a reranker."""
    service.metrics.reranked_for(protocol)
    if not service.models.reranks:
        raise HTTPException(501, "this service runs without a reranker (rerank: false)")
    if not query.strip():
        raise InputError("the query is empty: expected some words, for example a question")
    check_size(service, texts)
    line = service.models.line(query)
    found = await _result(line.submit([(query, text) for text in texts]))
    if not all(math.isfinite(scored.logit) for scored in found):
        raise ModelError("the reranker gave a score that is not a number")
    return Scores(found, line.reranker)


async def vectors(service: Service, texts: Sequence[str], task: Task) -> list[Vector]:
    """One vector for each text, in order."""
    check_size(service, texts)
    return await _result(service.models.vectors(texts, task))


async def _result(answer: Answer[Result]) -> list[Result]:
    """What the model answers. The queue itself gives up the work of a caller who has left."""
    try:
        return await asyncio.wrap_future(answer)
    except asyncio.CancelledError:
        answer.abandon()
        raise Stopped("the service is stopping, or the caller has left") from None


def best_first(scored: Sequence[Scored], top: int | None = None) -> list[tuple[int, Scored]]:
    """Positions in the request with their results; equal ones keep their order."""
    # By logit, not by probability, which is 1.0 for all that are large.
    return sorted(enumerate(scored), key=lambda pair: -pair[1].logit)[:top]


def errors(shape: Any, *more: int) -> dict[int | str, dict[str, Any]]:
    """A dialect's errors for OpenAPI: those that any route may give, and `more`."""
    found = (401, 403, 408, 413, 415, 421, 422, 429, 500, 503, *more)
    return {status: {"model": shape} for status in found}


def check_size(service: Service, texts: Sequence[str]) -> None:
    """Raises HTTPException 413 for more than the settings allow in one request."""
    limits = service.settings.serve
    if len(texts) > limits.max_texts:
        raise HTTPException(
            413,
            f"found {len(texts):,} texts, expected at most {limits.max_texts:,}: send them in "
            "several requests, or raise serve.max_texts",
        )
    characters = sum(map(len, texts))
    if characters > limits.max_characters:
        raise HTTPException(
            413,
            f"found texts of {characters:,} characters, expected at most "
            f"{limits.max_characters:,}: send them in several requests, or raise "
            "serve.max_characters",
        )


async def check_lengths(service: Service, texts: Sequence[str], field: str) -> None:
    """Raises InputError for a text that the embedding model would not read to its end."""
    check_size(service, texts)
    tokens = Tokens(service)
    for i, text in enumerate(texts):
        if (found := await tokens.count(text)) > tokens.most:
            raise InputError(
                f"{field}[{i}] has {found} tokens; expected at most {tokens.most}: shorten it, or "
                "let it be cut (truncate)"
            )


def check_dimensions(service: Service, wanted: int | None) -> None:
    """Vectors have the dimensions they were trained with; cut off, they would mean less."""
    ours = service.models.dimensions
    if wanted not in (None, ours):
        raise InputError(f"dimensions is {wanted}; this model's vectors have {ours}")


class Tokens:
    """Counts and cuts by the embedding model's tokenizer, off the event loop."""

    def __init__(self, service: Service) -> None:
        self._tokenizer = service.models.embedder.tokenizer

    @property
    def most(self) -> int:
        """Of one text, special tokens left out; the model reads no more."""
        return self._tokenizer.max_passage_tokens

    async def count(self, text: str) -> int:
        """How many tokens a text has, special ones left out, whether or not the model reads all."""
        text = text[:MAX_CHARACTERS]
        return len(await asyncio.to_thread(self._tokenizer.token_offsets, text))

    async def read(self, texts: Sequence[str]) -> int:
        """How many tokens the model reads of all of them, special ones included."""
        return await asyncio.to_thread(_read, self._tokenizer, texts)

    async def cut(self, texts: Sequence[str], most: int) -> list[str]:
        """The same texts without what comes after so many tokens."""
        return await asyncio.to_thread(
            lambda: [_cut(self._tokenizer, text, most) for text in texts]
        )


def _read(tokenizer: PassageTokenizer, texts: Sequence[str]) -> int:
    inputs = tokenizer.inputs([text[:MAX_CHARACTERS] for text in texts])
    return sum(len(tokens.ids) for tokens in inputs)


def _cut(tokenizer: PassageTokenizer, text: str, most: int) -> str:
    text = text[:MAX_CHARACTERS]
    if len(text) <= most:  # a token has a character at least
        return text
    offsets = tokenizer.token_offsets(text)
    return text if len(offsets) <= most else text[: offsets[most - 1][1]]
