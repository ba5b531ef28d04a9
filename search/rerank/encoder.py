"""The cross-encoder: reads a query and a text together and says how well the text answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from config import Settings
from search.engine import open_engine
from search.errors import CheckpointError, ModelError
from search.models.folder import config_fingerprint, fingerprint, read_json, weight_files
from search.models.registry import MODELS
from search.models.remembered import remember
from search.models.tokens import Span
from search.rerank.checkpoint import open_checkpoint
from search.rerank.windows import PairEncoder

PROBE_QUERY = "how to prevent heart disease"
PROBE_RIGHT = "Regular exercise, a healthy diet and not smoking help to prevent heart disease."
PROBE_WRONG = "The museum is closed on Mondays; tickets are sold at the entrance."
PROBE_MARGIN = 0.5
"""Least difference of the two logits; trained rerankers reach 5 and more, random weights 0.1."""


STEP = 8
"""Pairs read between two looks at the clock; fewer would leave the processor half idle."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One of the texts given to `CrossEncoder.rank`: its position there, from 0, and its score."""

    index: int
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class Scored:
    """One pair's result: `logit` of its best window, and that window's characters of the text.

    `tokens` is how many the model read for it, in all its windows; 0 where it did not have to.
    """

    logit: float
    span: Span
    tokens: int = field(default=0, compare=False)


def in_steps(
    score: Callable[[Sequence[tuple[str, str]]], list[Scored]],
    pairs: Sequence[tuple[str, str]],
    seconds: float,
) -> list[Scored]:
    """The results of the first pairs, as many as `score` can give in so many seconds."""
    end = time.perf_counter() + seconds
    scored: list[Scored] = []
    left, last_step = seconds, 0.0
    while len(scored) < len(pairs) and left > last_step:  # else a step like the last ends too late
        scored += score(pairs[len(scored) : len(scored) + STEP])
        before, left = left, end - time.perf_counter()
        last_step = before - left
    return scored


class CrossEncoder:
    """Any Hugging Face sequence-classification reranker with one output.

    `model` is "bundled", a version in `models` (or "current"), a folder or a hub name. Raises
    CheckpointError when it is not usable, and ConfigError or MissingExtra when this machine lacks
    the device, precision or engine.
    """

    def __init__(
        self,
        model: str | Path = "bundled",
        *,
        device: str = "auto",
        precision: str = "auto",
        engine: str = "auto",
        batch_tokens: int = 16384,
        max_length: int = 512,
        window_overlap: int = 64,
        models: Path = MODELS,
    ) -> None:
        checkpoint = open_checkpoint(str(model), models)
        self.blend = checkpoint.blend
        self.max_length = min(max_length, checkpoint.positions or max_length)
        self._name = checkpoint.name
        self._revision = fingerprint(checkpoint.folder)
        config = config_fingerprint(read_json(checkpoint.folder / "config.json"))
        usual = min(checkpoint.usual_length or self.max_length, self.max_length)
        self._reads = f"{self._revision}.{config} {self.max_length} {usual} {window_overlap}"
        self._tokenizer = checkpoint.tokenizer
        self._pairs = PairEncoder(
            checkpoint.tokenizer, self.max_length, window_overlap, usual, checkpoint.positions
        )
        try:
            self._engine = open_engine(
                checkpoint.folder,
                "logits",
                device=device,
                precision=precision,
                engine=engine,
                batch_tokens=batch_tokens,
            )
        except ModelError as error:
            raise CheckpointError(str(error)) from None
        self._folder = folder = checkpoint.folder
        files = [*weight_files(folder), folder / "config.json", folder / "tokenizer.json"]
        remember(f"probe {self._engine.placement}", files, lambda: self.probe())

    @classmethod
    def load(cls, settings: Settings) -> CrossEncoder:
        """The reranker that `settings` describe."""
        return cls(
            settings.model,
            device=settings.device,
            precision=settings.precision,
            engine=settings.engine,
            batch_tokens=settings.batch_tokens,
            max_length=settings.max_length,
            window_overlap=settings.window_overlap,
            models=settings.models,
        )

    @property
    def info(self) -> Mapping[str, str | int]:
        """What an answer says of the model that ranked it; the device is the one in use now."""
        placement = self._engine.placement
        return {
            "name": self._name,
            "revision": self._revision,
            "device": placement.device,
            "precision": placement.precision,
            "engine": placement.engine,
            "max_length": self.max_length,
        }

    @property
    def identity(self) -> str:
        """What decides a logit besides query and text; the same in every process that has it."""
        placement = self._engine.placement
        return f"{self._reads} {placement.kind} {placement.engine} {placement.precision}"

    def unreadable(self, query: str) -> str | None:
        """What the model cannot read, if most of `query` is that: its scores say nothing then."""
        return self._tokenizer.unreadable(query)

    def readable(self, query: str) -> str:
        """The query, or its beginning where the whole would take more than half of `max_length`.

        A search reads that; `score`, `rank` and `score_pairs` refuse a query that is longer.
        """
        return self._pairs.readable(query)

    def score(self, query: str, texts: Sequence[str], raw: bool = False) -> list[float]:
        """One probability per text, in input order; `raw` gives logits instead.

        Raises QueryTooLong when the query takes more than half of `max_length`.
        """
        logits = [scored.logit for scored in self.score_pairs([(query, text) for text in texts])]
        return logits if raw else [self.blend.probability(logit) for logit in logits]

    def rank(self, query: str, texts: Sequence[str], top_k: int | None = None) -> list[Ranked]:
        """The texts with their probabilities, best first, at most `top_k`; ties keep their order.

        Raises QueryTooLong when the query takes more than half of `max_length`.

        >>> texts = ["The museum is closed on Mondays.", "Walk daily to keep the heart well."]
        >>> best = CrossEncoder().rank("how to prevent heart disease", texts, top_k=1)[0]
        >>> best.index, best.text
        (1, 'Walk daily to keep the heart well.')
        """
        logits = self.score(query, texts, raw=True)
        # By logit, not by probability, which is 1.0 for all that are large.
        order = sorted(range(len(texts)), key=lambda i: -logits[i])[:top_k]
        return [Ranked(i, self.blend.probability(logits[i]), texts[i]) for i in order]

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        """One result per (query, text), in input order; many queries share the batches.

        A text that does not fit is read in windows, of which the best counts. With `seconds`, only
        as many of the first pairs as can be read in that time. Raises QueryTooLong.
        """
        return self._score(pairs) if seconds is None else in_steps(self._score, pairs, seconds)

    def _score(self, pairs: Sequence[tuple[str, str]]) -> list[Scored]:
        windows = self._pairs.windows(pairs)
        if not windows:
            return []
        logits = self._engine([window.tokens for window in windows])[:, 0]  # (windows,)
        if not np.isfinite(logits).all():
            raise ModelError(
                f"the model gave {np.count_nonzero(~np.isfinite(logits))} of {len(logits)} scores "
                f"that are not numbers, in {self._engine.placement.precision}: set precision=fp32"
            )
        best: dict[int, Scored] = {}
        read = [0] * len(pairs)
        for window, logit in zip(windows, logits.tolist(), strict=True):
            read[window.pair] += len(window.tokens.ids)
            if window.pair not in best or logit > best[window.pair].logit:
                best[window.pair] = Scored(logit, window.span)
        return [replace(best[i], tokens=tokens) for i, tokens in enumerate(read)]

    def probe(self) -> str:
        """Refuse weights that cannot tell an obviously right text from an obviously wrong one."""
        right, wrong = self.score(PROBE_QUERY, [PROBE_RIGHT, PROBE_WRONG], raw=True)
        if right - wrong < PROBE_MARGIN:
            raise CheckpointError(
                f"{self._folder}: to {PROBE_QUERY!r} it gave {right:.3f} for a text that "
                f"answers it and {wrong:.3f} for one that does not; expected the first higher by "
                f"{PROBE_MARGIN} at least. These weights are untrained, damaged, or not a reranker"
            )
        return "passed"
