"""Further sentence encoders as teachers: their similarities beside the first stage's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.embed import Embedder as SentenceEncoder
from search.models.folder import read_json
from search.store import Embedder
from search.types import Document, passage_input

PAGE = 1024
"""Documents encoded between two savings."""

MAX_TOKENS = 192
"""About as much of a passage as the model in training reads of it, as a rule."""

PROMPTS = "config_sentence_transformers.json"


def load_panel(folders: Sequence[Path]) -> list[Embedder]:
    """The encoders, each with the query and passage prompts that its own folder names."""
    return [_open(folder) for folder in folders]


def _open(folder: Path) -> Embedder:
    prompts: dict[str, Any] = {}
    if (folder / PROMPTS).is_file():
        prompts = read_json(folder / PROMPTS).get("prompts", {})
    query, passage = prompts.get("query", ""), prompts.get("passage", prompts.get("document", ""))
    return SentenceEncoder(folder, None, MAX_TOKENS, query_prefix=query, passage_prefix=passage)


class Opinion:
    """One encoder's vectors of one data set's documents, kept in `folder` as they are made."""

    def __init__(self, encoder: Embedder, name: str, folder: Path) -> None:
        self._encoder = encoder
        self._name = name
        self._folder = folder / f"{name}.{encoder.info.name}"
        self._rows: dict[str, int] = {}
        self._vectors: NDArray[np.float32] = np.empty((0, encoder.info.dimensions), np.float32)

    def fill(self, documents: Sequence[Document], report: Callable[[str], None]) -> None:
        """Encode what is not on disk yet; a killed run goes on where it was."""
        self._folder.mkdir(parents=True, exist_ok=True)
        pages = [self._vectors]
        for start in range(0, len(documents), PAGE):
            page = documents[start : start + PAGE]
            pages.append(self._page([passage_input(d.title, d.text) for d in page]))
            done = start + len(page)
            report(f"{self._encoder.info.name}: encoded {self._name} {done}/{len(documents)}")
        self._vectors = np.concatenate(pages)
        self._rows = {document.id: row for row, document in enumerate(documents)}

    def _page(self, texts: list[str]) -> NDArray[np.float32]:
        digest = hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()
        path = self._folder / f"{digest[:16]}.npy"
        if path.is_file():
            held: NDArray[np.float32] = np.load(path)
            return held
        vectors = self._encoder.encode_passages(texts)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.save(file, vectors)
        part.replace(path)
        return vectors

    def similarities(self, query: str, ids: Sequence[str]) -> list[float]:
        """Cosine of the query with each document, in the order of `ids`."""
        rows = self._vectors[[self._rows[i] for i in ids]]  # (ids, dimensions)
        found: list[float] = (rows @ self._encoder.encode_query(query)).tolist()
        return found
