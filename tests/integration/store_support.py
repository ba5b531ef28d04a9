"""What the stores' tests share: a small embedder, a store of it, documents made from words."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.store import Embedder
from search.store.sqlite import SqliteStore
from search.types import Document, EmbeddingInfo, Entry, Passage, Value

DIMENSIONS = 64


class HashedWords(Embedder):
    """A bag of words hashed to 64 places, of length 1; it counts the texts it embeds."""

    def __init__(self, name: str = "hashed-words") -> None:
        self._info = EmbeddingInfo(name, f"{name}-1", DIMENSIONS)
        self.embedded: list[str] = []

    @property
    def info(self) -> EmbeddingInfo:
        return self._info

    def encode_passages(self, texts: list[str]) -> npt.NDArray[np.float32]:
        self.embedded += texts
        return np.stack([self.encode_query(text) for text in texts])

    def encode_query(self, text: str) -> npt.NDArray[np.float32]:
        vector = np.full(DIMENSIONS, 0.01, dtype=np.float32)
        for word in re.findall(r"\w+", text.lower()):
            vector[zlib.crc32(word.encode()) % DIMENSIONS] += 1
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def unreadable(self, text: str) -> str | None:
        return None

    def unread_tokens(self, query: str) -> int:
        return 0


def entry(
    document_id: str, *passages: str, title: str = "", version: str = "1", **metadata: Value
) -> Entry:
    """A document of these passages; its content hash is `version`."""
    document = Document(document_id, title, " ".join(passages), metadata)
    return Entry(document, tuple(map(Passage, passages)), version)


def create(path: Path) -> SqliteStore:
    """An embedded store of these embeddings, which is made if it is not there."""
    return SqliteStore(path, HashedWords(), create=True)


WORDS = ["heart", "disease", "surgery", "diet", "prevention", "stroke", "asthma", "salt", "risk"]


def random_entries(count: int, seed: int = 0) -> Sequence[Entry]:
    """Two passages of eight words each, and a year."""
    random = np.random.default_rng(seed)
    return [
        entry(
            f"d{i}",
            *(" ".join([*random.choice(WORDS, 8), f"n{i}p{j}"]) for j in range(2)),
            title=str(random.choice(WORDS)),
            year=2000 + i % 20,
        )
        for i in range(count)
    ]
