"""Two ingests into one store at once are kept apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import config
from search.errors import StoreError, StoreUnavailable
from search.store.lock import only_writer


def settings(path: Path, **more: str) -> config.Settings:
    return config.load({"store": path} | more, {}, [])


def test_a_second_ingest_is_told_who_is_at_work(tmp_path: Path) -> None:
    store = tmp_path / "new" / "store.db"
    holder = rf"another process is writing to {store} .*process {os.getpid()} on .*wait"
    for _ in range(2):
        with (
            only_writer(settings(store)),
            pytest.raises(StoreUnavailable, match=holder),
            only_writer(settings(store)),
        ):
            pass


def test_other_stores_are_free_and_an_error_lets_go(tmp_path: Path) -> None:
    store = settings(tmp_path / "a.db")
    server = settings(tmp_path / "a.db", weaviate_url="http://localhost:8080")
    with pytest.raises(KeyboardInterrupt), only_writer(store):
        raise KeyboardInterrupt
    with only_writer(store), only_writer(settings(tmp_path / "b.db")), only_writer(server):
        pass


def test_no_lock_is_made_beside_what_is_no_store(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(StoreError, match="is a folder"), only_writer(settings(folder)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
