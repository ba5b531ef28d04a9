"""The models as threads see them, each behind a queue: one call waits for its results."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from search.embed import PassageTokenizer
from search.rerank import Scored
from search.rerank.provider import Reranker, Wrapper
from search.serve.caller import Answer, current_caller
from search.serve.queue import FairQueue
from search.stages import reserve
from search.store import Embedder
from search.types import EmbeddingInfo

MAX_CHARACTERS = 20_000
"""What a model reads of one text; passages of this project have some thousand characters. The rest
is cut before it is tokenized: of 10 MB that alone would take minutes and gigabytes."""
BYTES_PER_TOKEN = 4
"""Of UTF-8: an English token has four letters and more, a Chinese character, one token, has three
bytes."""

Task = Literal["query", "passage"]
Vector = NDArray[np.float32]  # (dimensions,)
Pair = tuple[str, str]


class Encoder(Embedder, Protocol):
    """An embedding model that also cuts documents to its size."""

    @property
    def tokenizer(self) -> PassageTokenizer: ...


class QueuedEmbedder:
    """An embedding model for threads that wait: they share batches, and queries go first."""

    def __init__(self, model: Encoder, queue: FairQueue[tuple[Task, str], Vector]) -> None:
        self._model = model
        self._queue = queue

    @property
    def info(self) -> EmbeddingInfo:
        """What identifies this embedding space."""
        return self._model.info

    @property
    def tokenizer(self) -> PassageTokenizer:
        """For cutting documents into passages."""
        return self._model.tokenizer

    def unreadable(self, text: str) -> str | None:
        """What the model cannot read, if most of `text` is that; else None."""
        return self._model.unreadable(text)

    def unread_tokens(self, query: str) -> int:
        """How many tokens at the query's end do not fit into the model's input."""
        return self._model.unread_tokens(query)

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(texts, dimensions). However many wait: whoever stores documents is not refused here."""
        rows = self._encode([("passage", text) for text in texts], urgent=False)
        return np.array(rows, np.float32).reshape(-1, self.info.dimensions)

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """(dimensions,)"""
        (vector,) = self._encode([("query", text)], urgent=True)
        return vector

    def _encode(self, items: list[tuple[Task, str]], urgent: bool) -> list[Vector]:
        cut: list[tuple[Task, str]] = [(task, text[:MAX_CHARACTERS]) for task, text in items]
        costs = [tokens(text) for _, text in cut]
        queue = self._queue
        return queue.result(queue.submit(cut, costs, urgent=urgent, bounded=False))


class QueuedReranker(Wrapper):
    """A cross-encoder for threads that wait: they share batches."""

    def __init__(self, model: Reranker, queue: FairQueue[tuple[Reranker, Pair], Scored]) -> None:
        super().__init__(model)
        self._queue = queue

    def score_pairs(self, pairs: Sequence[Pair], seconds: float | None = None) -> list[Scored]:
        """One result per pair, in order; as many as there are after `seconds`, if that is given.

        The deadline of the request that this thread works for counts, too.
        """
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        caller = current_caller.get()
        if caller is not None and caller.deadline is not None:
            kept = reserve(caller.deadline - caller.arrived)
            deadline = min(deadline, caller.deadline - kept)
        # Not bounded: a search was admitted before it began.
        return self._queue.result(self.submit(pairs, deadline, bounded=False), deadline)

    def submit(
        self, pairs: Sequence[Pair], deadline: float = math.inf, *, bounded: bool = True
    ) -> Answer[Scored]:
        """The same for one who does not wait. Raises Overloaded, Stopped, ModelError."""
        cut = [(query, text[:MAX_CHARACTERS]) for query, text in pairs]
        return self._queue.submit(
            [(self._model, pair) for pair in cut],
            [tokens(query) + tokens(text) for query, text in cut],
            deadline=deadline,
            bounded=bounded,
        )


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    size = len(text) if text.isascii() else len(text.encode(errors="replace"))
    return size // BYTES_PER_TOKEN + 2


def encoding(model: Encoder) -> Callable[[list[tuple[Task, str]]], list[Vector]]:
    """What runs a batch of texts through `model`."""

    def encode(tasks: list[tuple[Task, str]]) -> list[Vector]:
        passages = [text for task, text in tasks if task == "passage"]
        rows = iter(model.encode_passages(passages) if passages else ())
        return [
            next(rows) if task == "passage" else model.encode_query(text) for task, text in tasks
        ]

    return encode


def score_by_model(items: Sequence[tuple[Reranker, Pair]]) -> list[Scored]:
    """Each pair scored by the model that it was queued for."""
    models = {id(model): model for model, _ in items}
    scored: dict[int, Scored] = {}
    for model in models.values():
        positions = [i for i, (its, _) in enumerate(items) if its is model]
        found = model.score_pairs([items[i][1] for i in positions])
        scored |= zip(positions, found, strict=True)
    return [scored[i] for i in range(len(items))]
