"""The models that the settings name, loaded and run once before anyone calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from config import Settings
from search.embed import load_embedder
from search.rerank import CrossEncoder
from search.serve.models import Models


class ProbabilityReranker:
    """A cross-encoder whose scores are probabilities: in Weaviate's `rerank`, too, 0 to 1."""

    def __init__(self, encoder: CrossEncoder) -> None:
        self._encoder = encoder

    @property
    def info(self) -> Mapping[str, str | int]:
        return self._encoder.info

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """One for each (query, text), in order."""
        to_probability = self._encoder.blend.probability
        return [to_probability(scored.logit) for scored in self._encoder.score_pairs(pairs)]


def load_models(settings: Settings) -> Models:
    """Raises ModelError; `rerank: false` leaves the cross-encoder out."""
    embedder = load_embedder(settings)
    embedder.encode_query("the first run loads the model")
    reranker = ProbabilityReranker(CrossEncoder.load(settings)) if settings.rerank else None
    return Models(embedder, reranker)
