"""`python -m ingest` with the real store, and an embedder that needs no model; for kill tests."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from store_support import HashedWords

import search.embed


class Tokenizer:
    """A token is a character."""

    max_passage_tokens = 60

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return [(i, i + 1) for i in range(len(text))]


class SlowWords(HashedWords):
    """Takes its time, so that there is a moment at which to be killed."""

    tokenizer = Tokenizer()

    def encode_passages(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        time.sleep(float(os.environ.get("SECONDS_A_BATCH", "0")))
        return super().encode_passages(list(texts))


if __name__ == "__main__":
    search.embed.load_embedder = lambda settings: SlowWords()  # type: ignore[assignment,return-value]
    import ingest.__main__
    import ingest.pipeline

    ingest.pipeline.BATCH_DOCUMENTS = int(os.environ.get("DOCUMENTS_A_BATCH", "8"))
    sys.exit(ingest.__main__.main(sys.argv[1:]))
