"""Opening a store: what is told while it is filled, and what its hints name."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import apsw
import numpy as np
import pytest
from numpy.typing import NDArray

import config
import search.embed
from search.errors import StoreError
from search.store import DEFAULT_PATH, metadata_from_json
from search.store.open import open_store
from search.store.sqlite import SqliteStore
from search.store.sqlite.connection import missing, translate_errors
from search.types import Document, EmbeddingInfo, Entry, Passage


class Lengths:
    """A text's vector points to its length."""

    info = EmbeddingInfo("lengths", "1", 200)

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def encode_passages(self, texts: list[str]) -> NDArray[np.float32]:
        self.batches.append([len(text) for text in texts])
        return np.eye(200, dtype=np.float32)[[len(text) for text in texts]]

    def encode_query(self, text: str) -> NDArray[np.float32]:
        return np.eye(200, dtype=np.float32)[len(text)]


def test_passages_are_counted_while_they_are_embedded(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, told = Lengths(), []
    monkeypatch.setattr(search.embed, "load_embedder", lambda settings: model)
    settings = config.load({"store": f"{tmp_path}/s.db"}, {}, [])
    store = open_store(settings, create=True, on_embedded=told.append)
    lengths = [(i * 37) % 150 + 1 for i in range(150)]
    passages = tuple(Passage("x" * length) for length in lengths)
    assert store.put([Entry(Document("a", "", "x"), passages, "1")]) == []
    assert told == [64, 64, 22]
    assert [length for batch in model.batches for length in batch] == sorted(lengths)
    for length in (1, 77, 150):
        best = store.retrieve("y" * length, 1, mode="near_text")[0]
        assert (len(best.passage), best.score) == (length, pytest.approx(1.0))
    store.close()


def test_a_hint_names_the_store_where_it_is_not_the_default_one(tmp_path: Path) -> None:
    assert config.load(files=[]).store == DEFAULT_PATH
    assert str(missing(DEFAULT_PATH)).endswith(": run `two-stage ingest PATH` first")
    assert str(missing(Path("my notes.db"))).endswith(
        ": run `two-stage ingest PATH --store 'my notes.db'` first"
    )
    with pytest.raises(StoreError, match=r"; `two-stage ingest --verify` says where\. Restore"):
        fail(DEFAULT_PATH)
    with pytest.raises(StoreError, match=r"run `two-stage ingest --repair`, then"):
        metadata_from_json("a", "{")


def test_damaged_metadata_is_mended_in_the_store_in_use(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with closing(SqliteStore(path, Lengths(), create=True)) as store:
        store.put([Entry(Document("a", "", "x"), (Passage("x"),), "1")])
        connection = apsw.Connection(str(path))
        connection.execute("UPDATE documents SET metadata = '{'")
        connection.close()
        advice = re.escape(f"run `two-stage ingest --repair --store {path}`, then")
        with pytest.raises(StoreError, match=advice):
            store.get("a")
        with pytest.raises(StoreError, match=advice):
            store.retrieve("x", 1, mode="near_text")


def test_what_keeps_a_store_from_being_opened_is_not_left_to_verify(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"no database " * 1000)
    for create in (True, False):
        with pytest.raises(StoreError, match=r"not a store, or is damaged \([^)]*\)\. Restore"):
            SqliteStore(path, Lengths(), create=create)


def fail(path: Path) -> None:
    with translate_errors(path):
        raise apsw.CorruptError("malformed")
