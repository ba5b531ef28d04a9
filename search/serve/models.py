"""The two models, each behind a queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from config import Settings
from search.embed import load_embedder
from search.errors import ModelError
from search.rerank import Blend, CrossEncoder, Scored
from search.rerank.provider import Reranker, RerankerProvider
from search.serve.merging import Answer, Merger
from search.store import Embedder

# What a model reads of one text; passages of this project have some thousand characters. The rest
# is cut before it is tokenized: of 10 MB that alone would take minutes and gigabytes.
MAX_CHARACTERS = 20_000
STUCK_SECONDS = 60.0

Task = Literal["query", "passage"]
Vector = NDArray[np.float32]  # (dimensions,)


class Models:
    """Vectors and scores for any number of callers at once; results come as futures."""

    def __init__(self, embedder: Embedder, reranker: Reranker | None) -> None:
        self.embedder = embedder
        self.provider = RerankerProvider(lambda: _present(reranker))
        self._reranker = reranker
        self._vectors: Merger[tuple[Task, str], Vector] = Merger(self._embed)
        self._scores: Merger[tuple[str, str], Scored] | None = (
            None if reranker is None else Merger(reranker.score_pairs)
        )

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """The models that `settings` name, run once before anyone calls; `rerank: false`: only one.

        Raises ModelError.
        """
        embedder = load_embedder(settings)
        embedder.encode_query("the first run loads the model")
        return cls(embedder, CrossEncoder.load(settings) if settings.rerank else None)

    @property
    def reranks(self) -> bool:
        return self._scores is not None

    @property
    def dimensions(self) -> int:
        return self.embedder.info.dimensions

    @property
    def blend(self) -> Blend:
        """How logits become probabilities. Raises ModelError without a reranker."""
        return _present(self._reranker).blend

    def vectors(self, texts: Sequence[str], task: Task) -> Answer[Vector]:
        """One vector of length 1 each; a query and a passage may have prefixes of their own."""
        texts = [text[:MAX_CHARACTERS] for text in texts]
        return self._vectors.submit([(task, text) for text in texts], sum(map(len, texts)))

    def scores(self, query: str, texts: Sequence[str]) -> Answer[Scored]:
        """One result for each text, in order."""
        assert self._scores is not None
        pairs = [(query, text[:MAX_CHARACTERS]) for text in texts]
        return self._scores.submit(pairs, sum(len(text) for _, text in pairs))

    def fault(self) -> str | None:
        """Why no answers are to be expected, or None."""
        mergers = {"embedding model": self._vectors, "reranker": self._scores}
        for name, merger in mergers.items():
            seconds = 0.0 if merger is None else merger.busy_seconds()
            if seconds > STUCK_SECONDS:
                return f"the {name} has been at one batch for {seconds:.0f} s"
        return None

    def meta(self) -> dict[str, Any]:
        """What runs here."""
        reranker = None if self._reranker is None else dict(self._reranker.info)
        return {"embedding": asdict(self.embedder.info), "reranker": reranker}

    def close(self) -> None:
        self._vectors.close()
        if self._scores is not None:
            self._scores.close()

    def _embed(self, tasks: list[tuple[Task, str]]) -> list[Vector]:
        passages = [text for task, text in tasks if task == "passage"]
        rows = iter(self.embedder.encode_passages(passages))
        return [
            next(rows) if task == "passage" else self.embedder.encode_query(text)
            for task, text in tasks
        ]


def _present(reranker: Reranker | None) -> Reranker:
    if reranker is None:
        raise ModelError("this service runs without a reranker (rerank: false)")
    return reranker
