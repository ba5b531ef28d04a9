"""What is published about models that people often choose.

Sizes are what their weights take by the number of their parameters, four bytes each: what the hub
has may differ a little, and changes with a model's repository, so they are shown as "about".
"""

from __future__ import annotations

from typing import NamedTuple

MB, GB = 10**6, 10**9
CARD = "https://huggingface.co/"
NO_RANGE = "a logit without a range: choose a threshold on your own data"
MS_MARCO = "a logit, mostly between about -10 and 10; the sigmoid was not fitted to outcomes"
NO_SCORES = "an embedding model: vectors, no scores of pairs"


class Known(NamedTuple):
    """A model on the hub: about how many bytes its weights take, and what its scores mean.

    `safetensors`: whether weights of that form, the only one that is loaded, are published.
    """

    bytes: int
    scores: str
    source: str
    safetensors: bool = True


KNOWN = {
    "BAAI/bge-reranker-v2-m3": Known(
        2270 * MB,
        f"{NO_RANGE}. Its card's examples: -8.19 for a passage that does not answer, 5.26 for one "
        "that does",
        f"{CARD}BAAI/bge-reranker-v2-m3",
    ),
    "BAAI/bge-reranker-base": Known(1110 * MB, NO_RANGE, f"{CARD}BAAI/bge-reranker-base"),
    "BAAI/bge-reranker-large": Known(2240 * MB, NO_RANGE, f"{CARD}BAAI/bge-reranker-large"),
    "cross-encoder/ms-marco-MiniLM-L6-v2": Known(
        91 * MB, MS_MARCO, "https://sbert.net/docs/cross_encoder/pretrained_models.html"
    ),
    "cross-encoder/ms-marco-MiniLM-L12-v2": Known(
        133 * MB, MS_MARCO, "https://sbert.net/docs/cross_encoder/pretrained_models.html"
    ),
    "BAAI/bge-m3": Known(2270 * MB, NO_SCORES, f"{CARD}BAAI/bge-m3", safetensors=False),
    "sentence-transformers/all-MiniLM-L6-v2": Known(
        91 * MB, NO_SCORES, f"{CARD}sentence-transformers/all-MiniLM-L6-v2"
    ),
}
OTHER_NAMES = {
    "cross-encoder/ms-marco-MiniLM-L-6-v2": "cross-encoder/ms-marco-MiniLM-L6-v2",
    "cross-encoder/ms-marco-MiniLM-L-12-v2": "cross-encoder/ms-marco-MiniLM-L12-v2",
}


def known(name: str) -> Known | None:
    """What is published about the model of this name on the hub."""
    return KNOWN.get(OTHER_NAMES.get(name, name))
