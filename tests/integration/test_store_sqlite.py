"""What the one-file store promises beyond the contract: models, kills, processes, faults."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Barrier, Event

import numpy as np
import pytest
from store_support import HashedWords, entry, random_entries

from search.errors import (
    ModelError,
    ModelMismatch,
    SearchError,
    StoreError,
    StoreMissing,
    StoreUnavailable,
)
from search.store.sqlite import SqliteStore
from search.store.sqlite import memory as memory_module
from search.store.sqlite.connection import connect, transaction, translate_errors
from search.store.sqlite.expressions import match_terms
from search.store.sqlite.memory import Lookup, Memory
from search.store.sqlite.rankings import Query, Scan
from search.types import Condition, Entry, RetrievalMode, Source, Stored

MODES: list[RetrievalMode] = ["hybrid", "near_text", "bm25"]
ROOT = Path(__file__).parents[2]


def create(path: Path) -> SqliteStore:
    return SqliteStore(path, HashedWords(), create=True)


def test_a_missing_store_says_to_ingest(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match=r"python -m ingest PATH"):
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
    with pytest.raises(StoreError, match="has format 99, this program reads formats 1 and 2"):
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
    store._writer.execute("PRAGMA max_page_count = 40")
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        store.put(random_entries(2000))
    assert list(store.ids()) == ["a"]
    assert store.check() == []
    store.close()


@pytest.fixture
def readable_folder() -> Iterator[Path]:
    """A folder that the superuser can give up the right to write to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def without_the_right_to_write(folder: Path) -> Iterator[None]:
    """As a service reads a volume that is mounted read-only."""
    user = os.geteuid()
    folder.chmod(0o555)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


def test_a_read_only_folder_can_be_searched(readable_folder: Path) -> None:
    path = readable_folder / "s.db"
    store = create(path)
    store.put([entry("a", "heart")])
    store.close()
    path.chmod(0o444)
    with without_the_right_to_write(readable_folder):
        with pytest.raises(StoreUnavailable, match="writ"):
            create(path)
        reader = SqliteStore(path, HashedWords())
        assert [c.document_id for c in reader.retrieve("heart", 1)] == ["a"]
        assert [p.name for p in readable_folder.iterdir()] == ["s.db"]
        reader.close()


def test_a_reader_in_a_read_only_folder_follows_a_writer_elsewhere(readable_folder: Path) -> None:
    """Opened before the writer, without locks; what it then reads is never half of a batch."""
    path = readable_folder / "s.db"
    store = create(path)
    texts = ["version -1 passage 0"]
    store.put([entry(f"d{i}", *texts, version="-1") for i in range(20)])
    store.close()
    seen: set[str] = set()
    with without_the_right_to_write(readable_folder):
        reader = SqliteStore(path, HashedWords())
        assert len(reader.retrieve("version passage", 100)) == 20
    with start(WRITER, path, 0) as writer:
        with without_the_right_to_write(readable_folder):
            deadline = time.monotonic() + 60
            while len(seen) < 5 and time.monotonic() < deadline:
                found = reader.retrieve("version passage", 100, mode="near_text")
                versions = {c.passage.split()[1] for c in found}
                assert len(versions) == 1, "half of a batch"
                assert len(found) == 20 * (1 + max(0, int(min(versions))) % 3)
                seen |= versions
        writer.kill()
    assert len(seen) == 5
    reader.close()


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


NO_KEYS = "PRAGMA foreign_keys = OFF; "
HALF_FLIPPED = "UPDATE passages SET text = CAST(x'c328' AS TEXT) WHERE key = 1"


@pytest.mark.parametrize(
    ("damage", "reason", "count", "left"),
    [
        ("DELETE FROM vectors WHERE passage = 1", "passages without a vector", 1, 0),
        ("DELETE FROM words WHERE rowid = 1", "passages missing from the word index", 1, 0),
        ("UPDATE vectors SET embedding = x'00' WHERE passage = 1", "vectors of the wrong", 1, 0),
        ("UPDATE vectors SET embedding = zeroblob(256)", "vectors of the wrong size or l", 4, 0),
        (
            "UPDATE vectors SET embedding = (SELECT embedding FROM vectors)",
            "passages whose v",
            3,
            0,
        ),
        ("DELETE FROM passages WHERE document = 1", "documents without passages", 1, 1),
        ("DELETE FROM passages WHERE key = 1", "documents with a gap in their passages", 1, 1),
        (NO_KEYS + "DELETE FROM documents", "passages without a document", 4, 0),
        (NO_KEYS + "DELETE FROM passages", "vectors without a passage", 4, 2),
        ("INSERT INTO words (rowid, text) VALUES (9, 'x')", "word index entries without a", 1, 0),
        ("UPDATE passages SET text = 'other' WHERE key = 1", "passages whose text is not", 1, 1),
        (HALF_FLIPPED, "passages whose text is not", 1, 1),
        ("UPDATE documents SET title = 'other' WHERE key = 1", "passages whose text is not", 2, 1),
        ("UPDATE documents SET metadata = '{oops' WHERE key = 1", "documents whose metadata", 1, 1),
        ("UPDATE documents SET metadata = '[1]' WHERE key = 2", "documents whose metadata", 1, 1),
    ],
)
def test_damage_is_found_and_mended(
    tmp_path: Path, damage: str, reason: str, count: int, left: int
) -> None:
    """What the store cannot mend by itself, storing the same documents again does."""
    store = create(tmp_path / "s.db")
    entries = random_entries(2)
    store.put(entries)
    other = connect(tmp_path / "s.db")
    other.execute(damage)
    other.close()
    assert [f.count for f in store.check(None) if f.reason.startswith(reason)] == [count]
    remaining = store.repair()
    assert [(f.reason[:9], f.count) for f in remaining if "stored again" in f.reason] == (
        [("documents", left)] if left else []
    )
    assert not any(f.reason.startswith("SQLite") for f in remaining)
    held = store.stored([e.document.id for e in entries])
    store.put([e for e in entries if held.get(e.document.id) != Stored(e.content_hash)])
    assert store.check(None) == []
    assert len(store.retrieve("heart", 9, mode="near_text")) == 4
    store.close()


QUESTIONS: list[Callable[[SqliteStore], object]] = [
    lambda store: store.retrieve("heart disease", 20),
    lambda store: store.retrieve("heart", 20, [Condition("year", "=", 2001)]),
    lambda store: list(store.documents()),
    lambda store: store.get("d3"),
    lambda store: store.stored(["d3"]),
    lambda store: store.check(),
    SqliteStore.fields,
    SqliteStore.describe,
]


def test_flipped_bytes_are_an_answer_or_an_error_that_says_so(tmp_path: Path) -> None:
    path, damaged = tmp_path / "s.db", tmp_path / "damaged.db"
    store = create(path)
    store.put(random_entries(30))
    store.close()
    content = path.read_bytes()
    chance = random.Random(0)
    for _ in range(150):
        flipped = bytearray(content)
        for _ in range(20):
            flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        damaged.write_bytes(flipped)
        with suppress(SearchError), closing(SqliteStore(damaged, HashedWords())) as reader:
            for question in QUESTIONS:
                with suppress(SearchError):
                    question(reader)


@pytest.mark.parametrize("value", ["", "{", "[]", "1", '{"name": "x"}'])
def test_an_unreadable_note_of_the_model_is_explained(tmp_path: Path, value: str) -> None:
    path = tmp_path / "s.db"
    create(path).close()
    other = connect(path)
    other.execute("UPDATE properties SET value = ? WHERE name = 'embedding'", (value,))
    other.close()
    with pytest.raises(StoreError, match="is damaged: its note of the embedding model"):
        SqliteStore(path, HashedWords())
    other = connect(path)
    other.execute("DELETE FROM properties")
    other.close()
    with pytest.raises(StoreError, match="is damaged: its note of the embedding model"):
        create(path)


def test_bm25_is_the_textbook_formula(tmp_path: Path) -> None:
    """Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75; a word in the title counts twice."""
    entries = random_entries(200, seed=1)
    store = create(tmp_path / "s.db")
    store.put(random_entries(200, seed=2))
    store.put(entries)  # replaces them all: what is gone must not count
    texts = [(e.document.title.split(), p.text.split()) for e in entries for p in e.passages]
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
    """Each answer is of one state of the store: versions of a batch never mix."""
    store = create(tmp_path / "s.db")
    stop = Event()

    def batch(version: int) -> list[Entry]:
        texts = [f"version {version} passage {i}" for i in range(1 + version % 3)]
        return [entry(f"d{i}", *texts, version=str(version)) for i in range(20)]

    def search(_: int) -> int:
        answers = 0
        while not stop.is_set():
            mode = MODES[answers % 3]
            found = store.retrieve("version passage", 100, mode=mode)
            (version,) = {c.passage.split()[1] for c in found}
            assert len(found) == 20 * (1 + int(version) % 3)
            held = store.get("d7")
            assert held is not None
            assert len(held.passages) == 1 + int(held.content_hash) % 3
            assert len(list(store.ids())) == 20
            answers += 1
        return answers

    store.put(batch(0))
    with ThreadPoolExecutor(6) as pool:
        searches = [pool.submit(search, i) for i in range(4)]
        writes = [pool.submit(store.put, batch(version)) for version in range(1, 31)]
        for write in writes:
            assert write.result(timeout=60) == []
        stop.set()
        assert sum(done.result(timeout=60) for done in searches) > 8
    assert store.check(None) == []
    store.close()


def test_a_reader_does_not_wait_for_another(tmp_path: Path) -> None:
    """Two threads are inside of the store at once."""
    store = create(tmp_path / "s.db")
    store.put(random_entries(2))
    both = Barrier(2, timeout=30)

    def meet(_: int) -> int:
        return store._readers.read(lambda connection: both.wait())

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(meet, range(2))) == [0, 1]
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
store = SqliteStore(Path(sys.argv[1]), HashedWords())
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
        store = SqliteStore(path, HashedWords())
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


def old_store(path: Path) -> None:
    """As format 1 left it: no sources, no locations, and a table of what had been ingested."""
    store = create(path)
    store.put([entry(i, f"heart of {i}", version=i, year=2000) for i in ("a", "b", "c", "d")])
    store.close()
    connection = connect(path)
    connection.execute(
        "ALTER TABLE documents DROP COLUMN source_file;"
        "ALTER TABLE documents DROP COLUMN source_line;"
        "ALTER TABLE passages DROP COLUMN line; ALTER TABLE passages DROP COLUMN page;"
        "ALTER TABLE passages DROP COLUMN heading; PRAGMA user_version = 1;"
        "CREATE TABLE ingested (id TEXT PRIMARY KEY, content_hash TEXT NOT NULL, "
        "passages INTEGER, file TEXT, line INTEGER, time TEXT NOT NULL) WITHOUT ROWID;"
        "INSERT INTO ingested VALUES ('a', 'a', 1, 'in.jsonl', 7, ''),"
        "('b', 'b', 1, 'gone.jsonl', 1, ''), ('c', 'c', 1, 'standard input', 2, '')"
    )
    connection.close()


def test_a_store_of_format_1_is_searched_as_it_is(tmp_path: Path) -> None:
    old_store(tmp_path / "s.db")
    reader = SqliteStore(tmp_path / "s.db", HashedWords())
    best = reader.retrieve("heart of b", 1, [Condition("year", "=", 2000)])[0]
    assert (best.document_id, best.source, best.location) == ("b", None, None)
    assert reader.stored(["a"]) == {"a": Stored("a")}
    assert [one.id for one in reader.documents()] == ["a", "b", "c", "d"]
    assert reader.check(None) == []
    assert reader.describe().version.endswith("format 1")
    reader.close()


def test_a_store_of_format_1_takes_no_file_elsewhere_for_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the user stood in then is unknown: a file of the same name may be another one."""
    old_store(tmp_path / "s.db")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "in.jsonl").touch()
    monkeypatch.chdir(elsewhere)
    store = create(tmp_path / "s.db")
    assert store.stored(["a"]) == {"a": Stored("a")}
    store.close()


def test_a_store_of_format_1_is_upgraded_by_a_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").touch()
    old_store(tmp_path / "s.db")
    reader = SqliteStore(tmp_path / "s.db", HashedWords())
    for _ in range(2):
        store = create(tmp_path / "s.db")
        assert store.stored(["a", "b", "c", "d"]) == {
            "a": Stored("a", Source(str(tmp_path / "in.jsonl"), 7)),
            "b": Stored("b"),  # nobody knows any more where gone.jsonl was
            "c": Stored("c", Source("-", 2)),
            "d": Stored("d"),
        }
        assert store.check(None) == []
        store.close()
    assert len(reader.retrieve("heart", 9)) == 4
    reader.close()


@pytest.mark.parametrize(
    ("language", "finds"), [("en", {"run", "runs"}), ("de", {"run"})], ids=["english", "other"]
)
def test_words_are_those_of_the_language(tmp_path: Path, language: str, finds: set[str]) -> None:
    """English is stemmed, and its commonest words are left out of queries; others are not."""
    path = tmp_path / "s.db"
    store = SqliteStore(path, HashedWords(), language=language, create=True)
    store.put([entry("run", "run"), entry("runs", "runs"), entry("the", "the")])
    names = {c.document_id for c in store.retrieve("the run", 9, mode="bm25")}
    assert names == finds | ({"the"} if language == "de" else set())
    store.repair()
    store.close()
    for create in (True, False):
        with pytest.raises(StoreError, match="Set `language` back"):
            SqliteStore(path, HashedWords(), language="fr", create=create)


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


def found(store: SqliteStore, query: str, *filters: Condition) -> dict[str, float]:
    """Everything that the filters let through; and the best 20 are the first of it."""
    every = store.retrieve(query, 1000, filters, "near_text")
    scores = [hit.score for hit in every]
    assert scores == sorted(scores, reverse=True)
    best = store.retrieve(query, 20, filters, "near_text")
    assert [hit.score for hit in best] == pytest.approx(scores[:20], abs=1e-5)
    return {hit.document_id: hit.score for hit in every}


def test_vectors_in_memory_give_what_a_scan_gives(tmp_path: Path) -> None:
    """The first query of a process scans, the second reads all vectors, later ones use them."""
    rng = random.Random(3)
    entries = [
        entry(f"d{i}", f"{word} {rng.random()}", year=1900 + i % 90, kept=i % 2 == 0)
        for i, word in enumerate(rng.choices(["heart", "salt", "risk diet", "stroke"], k=300))
    ]
    with closing(create(tmp_path / "s.db")) as store:
        store.put(entries)
    cases: list[tuple[Condition, ...]] = [
        (),
        (Condition("year", ">=", 1950),),
        (Condition("year", "=", 1901),),
        (Condition("kept", "=", True),),
        (Condition("kept", "=", 1),),
        (Condition("year", "=", 1), Condition("kept", "=", True)),
    ]
    scanned = []
    for filters in cases:
        with closing(SqliteStore(tmp_path / "s.db", HashedWords())) as store:
            scanned.append(found(store, "salt risk", *filters))
    with closing(SqliteStore(tmp_path / "s.db", HashedWords())) as store:
        for _ in range(3):
            for filters, expected in zip(cases, scanned, strict=True):
                assert found(store, "salt risk", *filters) == pytest.approx(expected, abs=1e-5)
        held = store._memory._snapshot
        assert held is not None
        assert held.vectors is not None


TEXTS = {
    "en": ["heart", "hearts", "risk", "riskier", "the", "salt", "Salz", "ß", "n1", "n2", "n3"],
    "de": ["Herz", "Herzen", "Salz", "salz", "und", "Blutdruck", "n1", "n2", "n3"],
    "zh": ["高血压", "血压", "高", "癌", "癌症", "BP", "心脏病", "心", "n1"],
}


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("seed", range(3))
def test_words_in_memory_give_what_fts5_gives(tmp_path: Path, language: str, seed: int) -> None:
    """To the last bit and in the same order: deletions, filters, titles, equal scores, each k."""
    rng = random.Random(seed)

    def text(longest: int) -> str:
        # Some words far more often than others, as in any language.
        weights = [1 / (1 + i) ** 2 for i in range(len(TEXTS[language]))]
        return " ".join(rng.choices(TEXTS[language], weights, k=rng.randrange(1, longest)))

    path = tmp_path / "s.db"
    with closing(SqliteStore(path, HashedWords(), language=language, create=True)) as store:
        for _ in range(2):  # the second time replaces half of them
            store.put(
                [
                    entry(f"d{i}", text(30), text(9), title=text(4), year=rng.randrange(9))
                    for i in rng.sample(range(400), 300)
                ]
            )
        store.delete([f"d{i}" for i in range(0, 400, 7)])
    with closing(connect(path, read_only=True)) as connection:
        memory = Memory()
        for _ in range(40):
            terms = match_terms(text(6), language)
            filters = rng.choice([(), (Condition("year", "<", 3),), (Condition("year", "=", 99),)])
            query = Query(None, terms, filters)
            scan = Scan(connection, query)
            read = memory.rankings(connection, query)
            k = rng.choice([1, 5, 100, 1000])
            assert list(read.bm25(k).items()) == list(scan.bm25(k).items())
            some = rng.sample([key for (key,) in connection.execute("SELECT key FROM passages")], 9)
            assert read.bm25_of(some) == scan.bm25_of(some)
        assert isinstance(read, Lookup)


def test_words_are_forgotten_where_they_take_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "MAX_WORD_BYTES", 1500)
    with closing(create(tmp_path / "s.db")) as store:
        store.put([entry("d1", "heart salt risk stroke diet")])
        for _ in range(2):
            for word in ("heart", "salt", "risk", "stroke"):
                assert [c.document_id for c in store.retrieve(word, 1, mode="bm25")] == ["d1"]
        held = store._memory._snapshot
        assert held is not None
        assert list(held.words) == ['"risk"', '"stroke"']


def test_a_word_index_of_other_passages_is_scanned(tmp_path: Path) -> None:
    """Damage that `--verify` names; a search goes on as it does from the file."""
    with closing(create(tmp_path / "s.db")) as store:
        store.put([entry("d1", "heart"), entry("d2", "salt")])
    with closing(connect(tmp_path / "s.db")) as other:
        other.execute("INSERT INTO words (rowid, title, text) VALUES (99, '', 'heart')")
    with closing(SqliteStore(tmp_path / "s.db", HashedWords())) as store:
        for _ in range(3):
            assert [c.document_id for c in store.retrieve("heart", 5, mode="bm25")] == ["d1"]


def test_vectors_in_memory_follow_every_writer(tmp_path: Path) -> None:
    writer, reader = create(tmp_path / "s.db"), SqliteStore(tmp_path / "s.db", HashedWords())
    with closing(writer), closing(reader):
        for i in range(4):
            writer.put([entry(f"d{i}", f"heart {i}")])
            for store in (reader, writer) * 3:
                assert set(found(store, "heart")) == {f"d{n}" for n in range(i + 1)}
        writer.delete(["d1"])
        for store in (reader, writer):
            assert set(found(store, "heart")) == {"d0", "d2", "d3"}
