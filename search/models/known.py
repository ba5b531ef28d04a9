"""What is published about models that people often choose; sizes are those of the weights."""

from __future__ import annotations

from typing import NamedTuple

MB, GB = 10**6, 10**9
CARD = "https://huggingface.co/"
NO_RANGE = (
    "a logit without a range; its makers suggest 0 as a rough threshold, to be chosen anew on your "
    "own data"
)
MS_MARCO = "a logit, reasonably between -10 and 10; the sigmoid was not fitted to outcomes"


class Known(NamedTuple):
    """A model on the hub: its size in bytes, what it reads, and what its scores mean.

    `positions` is its longest input in tokens. `safetensors`: whether weights of that form, the
    only one that is loaded, are published.
    """

    bytes: int
    languages: str
    positions: int
    scores: str
    source: str
    safetensors: bool = True


KNOWN = {
    "BAAI/bge-reranker-v2-m3": Known(
        2270 * MB,
        "multilingual",
        8192,
        f"{NO_RANGE}. Its card's examples: -8.19 for a passage that does not answer, 5.26 for one "
        "that does",
        f"{CARD}BAAI/bge-reranker-v2-m3",
    ),
    "BAAI/bge-reranker-base": Known(
        1110 * MB,
        "English and Chinese",
        512,
        NO_RANGE,
        f"{CARD}BAAI/bge-reranker-large/discussions/2",
    ),
    "BAAI/bge-reranker-large": Known(
        2240 * MB,
        "English and Chinese",
        512,
        NO_RANGE,
        f"{CARD}BAAI/bge-reranker-large/discussions/2",
    ),
    "cross-encoder/ms-marco-MiniLM-L6-v2": Known(
        91 * MB,
        "English",
        512,
        MS_MARCO,
        "https://sbert.net/docs/cross_encoder/pretrained_models.html",
    ),
    "cross-encoder/ms-marco-MiniLM-L12-v2": Known(
        133 * MB,
        "English",
        512,
        MS_MARCO,
        "https://sbert.net/docs/cross_encoder/pretrained_models.html",
    ),
    "BAAI/bge-m3": Known(
        2270 * MB,
        "multilingual",
        8192,
        "an embedding model: vectors, no scores of pairs",
        f"{CARD}BAAI/bge-m3",
        safetensors=False,
    ),
    "sentence-transformers/all-MiniLM-L6-v2": Known(
        91 * MB,
        "English",
        256,
        "an embedding model: vectors, no scores of pairs",
        f"{CARD}sentence-transformers/all-MiniLM-L6-v2",
    ),
}
OTHER_NAMES = {
    "cross-encoder/ms-marco-MiniLM-L-6-v2": "cross-encoder/ms-marco-MiniLM-L6-v2",
    "cross-encoder/ms-marco-MiniLM-L-12-v2": "cross-encoder/ms-marco-MiniLM-L12-v2",
}


def known(name: str) -> Known | None:
    """What is published about the model of this name on the hub."""
    return KNOWN.get(OTHER_NAMES.get(name, name))
