"""What the doctor says of a store's place, without a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from ingest_fakes import FakeEmbedder

import config
from search import embed
from search.doctor import Examination, Finding
from search.errors import StoreError
from search.types import EmbeddingInfo


def examined(store: Path) -> list[Finding]:
    examination = Examination(config.load({"store": store}, files=[]))
    examination._embedding = EmbeddingInfo("fake", "1", 3)
    return list(examination._store())


def test_only_a_store_that_is_not_there_is_yet_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "load_embedder", lambda settings: FakeEmbedder())
    assert [found.status for found in examined(tmp_path / "store.db")] == ["missing"]
    with pytest.raises(StoreError, match="is a folder"):
        examined(tmp_path)
