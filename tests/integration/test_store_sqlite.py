"""What the one-file store promises beyond the contract: its file, its model, its faults."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from store_support import HashedWords, create, entry, random_entries

from search.errors import ModelError, ModelMismatch, StoreError, StoreMissing, StoreUnavailable
from search.store.sqlite import SqliteStore
from search.store.sqlite import connection as connection_module
from search.store.sqlite.connection import connect, transaction, translate_errors


def test_a_missing_store_says_to_ingest(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match=r"two-stage ingest PATH --store .*none\.db"):
        SqliteStore(tmp_path / "none.db", HashedWords())
    assert list(tmp_path.iterdir()) == []


def test_a_store_whose_making_was_cut_off_is_missing_until_made_again(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    connect(path, create=True).close()  # all that a kill before the first commit leaves
    with pytest.raises(StoreMissing):
        SqliteStore(path, HashedWords())
    store = create(path)
    assert store.put([entry("a", "text")]) == []
    store.close()


def test_a_store_that_another_file_replaced_is_read_from_that_file(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with closing(create(path)) as store:
        store.put([entry("old", "bicycle")])
    with closing(SqliteStore(path, HashedWords())) as reader:
        for _ in range(3):  # the second time, its words and vectors are kept in memory
            assert [c.document_id for c in reader.retrieve("bicycle", 5)] == ["old"]
        for file in tmp_path.iterdir():
            file.unlink()
        with pytest.raises(StoreMissing):
            reader.retrieve("bicycle", 5)
        with closing(create(path)) as store:
            store.put([entry("new", "volcano")])
        assert [c.document_id for c in reader.retrieve("bicycle", 5)] == ["new"]
        assert list(reader.ids()) == ["new"]


def test_another_embedding_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    create(path).close()
    for mode in ({"create": True}, {"create": False}):
        with pytest.raises(ModelMismatch) as caught:
            SqliteStore(path, HashedWords("other-model"), **mode)
        for part in ("'hashed-words'", "'other-model'", "embedding_model", str(path), "ingest"):
            assert part in str(caught.value)


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, and long enough to hold a header " * 20)
    foreign = connect(tmp_path / "foreign.db", create=True)
    foreign.execute("CREATE TABLE mine (x)")
    foreign.close()
    with pytest.raises(StoreError, match="is not a store"):
        create(text)
    with pytest.raises(StoreError, match="not a store of this project"):
        create(tmp_path / "foreign.db")
    assert text.read_text().startswith("not a database")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    create(path).close()
    connection = connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="has format 99, this program reads formats 1 to 3"):
        create(path)


def test_a_folder_in_the_way_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be made"):
        create(tmp_path / "file" / "s.db")


def test_a_commit_is_synced_and_pages_are_large(tmp_path: Path) -> None:
    connection = connect(tmp_path / "s.db", create=True)
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "page_size")
    values = [connection.execute(f"PRAGMA {name}").get for name in pragmas]
    assert values == ["wal", 2, 1, 16384]
    connection.close()


def test_a_lock_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.db"
    create(path).close()
    holder = connect(path)
    monkeypatch.setattr(connection_module, "BUSY_TIMEOUT_MS", 50)
    waiter = connect(path)
    with (
        transaction(holder),
        pytest.raises(StoreUnavailable, match="locked by another process"),
        translate_errors(path),
        transaction(waiter),
    ):
        pass
    holder.close()
    waiter.close()


def test_a_full_disk_is_explained_and_changes_nothing(tmp_path: Path) -> None:
    store = create(tmp_path / "s.db")
    store.put([entry("a", "first")])
    store._writer.execute("PRAGMA max_page_count = 40")
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        store.put(random_entries(2000))
    assert list(store.ids()) == ["a"]
    assert store.check() == []
    store.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    create(tmp_path / "s.db").close()
    reader = SqliteStore(tmp_path / "s.db", HashedWords())
    with pytest.raises(StoreUnavailable, match="read-only"):
        reader.put([entry("a", "text")])
    reader.close()


def test_known_passages_are_not_embedded_again(tmp_path: Path) -> None:
    model = HashedWords()
    store = SqliteStore(tmp_path / "s.db", model, create=True)
    store.put([entry("a", "same", "same", "other"), entry("b", "same")])
    assert model.embedded == ["same", "other"]
    store.put(
        [entry("c", "same", year=1), entry("a", "other", "new"), entry("d", "same", title="T")]
    )
    assert model.embedded == ["same", "other", "new", "T\nsame"]
    assert store.check() == []
    store.close()


@pytest.mark.parametrize(
    "vectors", [np.full((1, 64), np.nan), np.zeros((1, 64)), np.ones((1, 3)), np.ones((1, 64))]
)
def test_vectors_that_are_no_unit_vectors_are_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    class Broken(HashedWords):
        def encode_passages(self, texts: list[str]) -> np.ndarray:
            return vectors

    store = SqliteStore(tmp_path / "s.db", Broken(), create=True)
    with pytest.raises(ModelError, match="each of length 1"):
        store.put([entry("a", "text")])
    assert list(store.ids()) == []
    store.close()


@pytest.mark.parametrize("name", [":memory:", "folder", "/dev/null"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    for mode in (True, False):
        with pytest.raises(StoreError, match="set `store` to a file"):
            SqliteStore(tmp_path / name, HashedWords(), create=mode)


def test_the_home_folder_may_be_written_as_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    create(Path("~/s.db")).close()
    assert (tmp_path / "s.db").is_file()
