"""What the one-file store promises beyond the contract: models, kills, processes, faults."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from store_support import HashedWords, entry, random_entries

from search.errors import ModelError, ModelMismatch, StoreError, StoreMissing, StoreUnavailable
from search.store.sqlite import SqliteStore
from search.store.sqlite.connection import connect, transaction, translate_errors

ROOT = Path(__file__).parents[2]


def create(path: Path) -> SqliteStore:
    return SqliteStore(path, HashedWords(), create=True)


def test_a_missing_store_says_to_ingest(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match=r"python -m ingest PATH"):
        SqliteStore(tmp_path / "none.db", HashedWords(), read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_store_whose_making_was_cut_off_is_missing_until_made_again(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    connect(path, create=True).close()  # all that a kill before the first commit leaves
    with pytest.raises(StoreMissing):
        SqliteStore(path, HashedWords(), read_only=True)
    store = create(path)
    assert store.put([entry("a", "text")]) == []
    store.close()


def test_another_embedding_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    create(path).close()
    for mode in ({"create": True}, {"read_only": True}):
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
    with pytest.raises(StoreError, match="has format 99, this program reads format 1"):
        create(path)


def test_a_folder_in_the_way_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be made"):
        create(tmp_path / "file" / "s.db")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        create(tmp_path)


def test_a_commit_is_synced_and_pages_are_large(tmp_path: Path) -> None:
    connection = connect(tmp_path / "s.db", create=True)
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "page_size")
    values = [connection.execute(f"PRAGMA {name}").get for name in pragmas]
    assert values == ["wal", 2, 1, 16384]
    connection.close()


def test_a_lock_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    create(path).close()
    holder, waiter = connect(path), connect(path, timeout_ms=50)
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
    store._connection.execute("PRAGMA max_page_count = 40")
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        store.put(random_entries(2000))
    assert list(store.ids()) == ["a"]
    assert store.check() == []
    store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write to read-only folders")
def test_a_read_only_folder_can_be_searched(tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    store = create(folder / "s.db")
    store.put([entry("a", "heart")])
    store.close()
    (folder / "s.db").chmod(0o444)
    folder.chmod(0o555)
    try:
        with pytest.raises(StoreUnavailable, match="writ"):
            create(folder / "s.db")
        reader = SqliteStore(folder / "s.db", HashedWords(), read_only=True)
        assert [c.document_id for c in reader.retrieve("heart", 1)] == ["a"]
        reader.close()
    finally:
        folder.chmod(0o755)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    create(tmp_path / "s.db").close()
    reader = SqliteStore(tmp_path / "s.db", HashedWords(), read_only=True)
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


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("DELETE FROM vectors WHERE passage = 1", "passages without a vector: 1"),
        ("DELETE FROM words WHERE rowid = 1", "passages missing from the word index: 1"),
        ("UPDATE vectors SET embedding = x'00' WHERE passage = 1", "vectors of the wrong size: 1"),
        ("DELETE FROM passages WHERE document = 1", "documents without passages: 1"),
        ("DELETE FROM passages WHERE key = 1", "documents with a gap in their passages: 1"),
        ("PRAGMA foreign_keys = OFF; DELETE FROM documents", "passages without a document: 4"),
        ("PRAGMA foreign_keys = OFF; DELETE FROM passages", "vectors without a passage: 4"),
        ("INSERT INTO words (rowid, text) VALUES (9, 'x')", "word index entries without a passage"),
    ],
)
def test_check_finds_damage(tmp_path: Path, damage: str, fault: str) -> None:
    store = create(tmp_path / "s.db")
    store.put(random_entries(2))
    other = connect(tmp_path / "s.db")
    other.execute(damage)
    other.close()
    assert any(line.startswith(fault) for line in store.check())
    store.close()


def test_bm25_is_the_textbook_formula(tmp_path: Path) -> None:
    """Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75; a word in the title counts twice."""
    entries = random_entries(200, seed=1)
    store = create(tmp_path / "s.db")
    store.put(random_entries(200, seed=2))
    store.put(entries)  # replaces them all: what is gone must not count
    texts = [(e.document.title.split(), p.split()) for e in entries for p in e.passages]
    average = sum(len(title) + len(text) for title, text in texts) / len(texts)

    def weight(word: str) -> float:
        containing = sum(word in title + text for title, text in texts)
        return max(1e-6, math.log((len(texts) - containing + 0.5) / (containing + 0.5)))

    def score(title: list[str], text: list[str]) -> float:
        length = 1.2 * (1 - 0.75 + 0.75 * (len(title) + len(text)) / average)
        counts = {w: 2 * title.count(w) + text.count(w) for w in ("asthma", "n7p1")}
        return sum(weight(w) * n * 2.2 / (n + length) for w, n in counts.items())

    expected = sorted((score(*pair) for pair in texts), reverse=True)[:50]
    found = store.retrieve("asthma n7p1", 50, mode="bm25")
    assert found[0].passage.endswith("n7p1")
    assert [c.score for c in found] == pytest.approx(expected, rel=1e-6)
    store.close()


def test_threads_share_a_store(tmp_path: Path) -> None:
    store = create(tmp_path / "s.db")
    store.put(random_entries(50))

    def work(number: int) -> int:
        store.put([entry(f"t{number}", f"thread number {number}")])
        return len(store.retrieve("heart", 10)) + len(list(store.ids()))

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(work, range(40)))
    assert all(61 <= count <= 100 for count in counts)
    assert store.describe().documents == 90
    assert store.check() == []
    store.close()


CHILD = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {here!r}]
from store_support import HashedWords, entry
from search.store.sqlite import SqliteStore
"""
WRITER = """
store = SqliteStore(Path(sys.argv[1]), HashedWords(), create=True)
for version in range(int(sys.argv[2]), 10_000):
    texts = [f"version {version} passage {i}" for i in range(1 + version % 3)]
    store.put([entry(f"d{i}", *texts, version=str(version)) for i in range(20)])
    print(version, flush=True)
"""
READER = """
store = SqliteStore(Path(sys.argv[1]), HashedWords(), read_only=True)
for round in range(100):
    found = store.retrieve("version passage", 100, mode="near_text")
    assert found and len({c.passage.split()[1] for c in found}) == 1, "half of a batch"
print("done")
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    child = CHILD.format(root=str(ROOT), here=str(Path(__file__).parent)) + code
    return subprocess.Popen(
        [sys.executable, "-c", child, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def test_a_kill_leaves_the_last_whole_batch(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    patience = random.Random(0)
    reported = -1
    for _ in range(6):
        with start(WRITER, path, reported + 1) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline()
            time.sleep(patience.uniform(0, 0.1))
            writer.send_signal(signal.SIGKILL)
            lines = writer.stdout.read().split()
        reported = max(reported + 1, *map(int, lines)) if lines else reported + 1
        store = SqliteStore(path, HashedWords(), read_only=True)
        hashes = {held.content_hash for held in store.stored([f"d{i}" for i in range(20)]).values()}
        # The batch after the last reported one may have been on disk before it could be reported.
        assert hashes in ({str(reported)}, {str(reported + 1)})
        assert store.describe().documents == 20
        assert store.describe().passages == 20 * (1 + int(hashes.pop()) % 3)
        assert store.check() == []
        store.close()


def test_two_readers_and_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with start(WRITER, path, 0) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "0\n"
        readers = [start(READER, path), start(READER, path)]
        assert [reader.communicate(timeout=60)[0] for reader in readers] == ["done\n", "done\n"]
        assert writer.poll() is None
        writer.kill()
        written = writer.stdout.read().split()
    assert len(written) > 1, "the writer must have gone on beside the readers"
    store = create(path)
    assert store.check() == []
    store.close()


def test_several_processes_make_one_store(tmp_path: Path) -> None:
    maker = "SqliteStore(Path(sys.argv[1]), HashedWords(), create=True).close()"
    makers = [start(maker, tmp_path / "s.db") for _ in range(4)]
    assert [process.wait(timeout=60) for process in makers] == [0, 0, 0, 0]
    for process in makers:
        process.communicate()
    assert create(tmp_path / "s.db").describe().documents == 0


def test_hybrid_candidates_carry_both_scores_whichever_ranking_found_them(tmp_path: Path) -> None:
    store = create(tmp_path / "s.db")
    store.put(random_entries(250))
    query = "n3p0 n7p1 n9p0"
    scores = {
        mode: {
            (c.document_id, c.passage_index): c.score for c in store.retrieve(query, 1000, (), mode)
        }
        for mode in ("near_text", "bm25")
    }
    found = store.retrieve(query, 100, mode="hybrid")
    by_vector, by_words = (
        store.retrieve(query, 9, (), "near_text"),
        store.retrieve(query, 9, (), "bm25"),
    )
    store.close()
    for c in found:
        key = (c.document_id, c.passage_index)
        assert c.cosine == pytest.approx(scores["near_text"][key], abs=1e-6)
        assert c.bm25 == pytest.approx(scores["bm25"].get(key, 0.0))
    assert any(c.bm25 == 0 for c in found)
    assert all(c.cosine == c.score and c.bm25 is None for c in by_vector)
    assert all(c.bm25 == c.score and c.cosine is None for c in by_words)
