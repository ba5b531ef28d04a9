"""Weaviate as a child of this process: started, filled, stopped, found again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from store_support import HashedWords, random_entries
from weaviate_nodes import free_ports

import config
from config import Settings
from search.errors import StoreUnavailable
from search.store.weaviate.store import WeaviateStore


@pytest.fixture
def settings(weaviate_binary: str, tmp_path: Path) -> Settings:
    """The binary lies where the client would put the one that it downloads."""
    rest, grpc = free_ports(2)
    flags = {
        "weaviate_url": "embedded",
        "weaviate.embedded_binaries": tmp_path / "binaries",
        "weaviate.embedded_data": tmp_path / "data",
        "weaviate.embedded_port": rest,
        "weaviate.grpc_port": grpc,
        "weaviate.vectorizer": "none",
    }
    settings = config.load(flags)
    tag = f"v{settings.weaviate.embedded_version}"
    name = f"weaviate-{tag}-{hashlib.sha256(tag.encode()).hexdigest()}"
    (tmp_path / "binaries").mkdir()
    (tmp_path / "binaries" / name).symlink_to(weaviate_binary)
    return settings


def test_it_starts_keeps_and_stops(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    store = WeaviateStore(settings, HashedWords, create=True)
    assert store.put(random_entries(50)) == []
    with pytest.raises(StoreUnavailable, match="Only one process can run it"):
        WeaviateStore(settings, HashedWords)
    store.close()
    store = WeaviateStore(settings, HashedWords)
    assert store.describe().documents == 50
    assert len(store.retrieve("heart", 5)) == 5
    assert store.check() == []
    store.close()
    assert capfd.readouterr().out == ""
