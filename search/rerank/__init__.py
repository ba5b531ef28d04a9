"""The second stage: a cross-encoder that scores (query, text) pairs."""

from search.rerank.blend import Blend
from search.rerank.encoder import CrossEncoder, Ranked, Scored

__all__ = ["Blend", "CrossEncoder", "Ranked", "Scored"]
