"""One file under threads and processes: readers, writers, kills, and no right to write."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Barrier, Event

import pytest
from store_support import HashedWords, create, entry, random_entries

from search.errors import StoreUnavailable
from search.store.sqlite import SqliteStore
from search.types import Entry, RetrievalMode

MODES: list[RetrievalMode] = ["hybrid", "near_text", "bm25"]
ROOT = Path(__file__).parents[2]


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
from store_support import HashedWords, create, entry
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


def test_a_log_without_content_is_no_obstacle_in_a_read_only_folder(readable_folder: Path) -> None:
    """As a writer that was killed at its start leaves one."""
    path = readable_folder / "s.db"
    store = create(path)
    store.put([entry("a", "heart")])
    store.close()
    log = readable_folder / "s.db-wal"
    log.touch()
    with (
        without_the_right_to_write(readable_folder),
        closing(SqliteStore(path, HashedWords())) as reader,
    ):
        assert [c.document_id for c in reader.retrieve("heart", 1)] == ["a"]
    log.write_bytes(b"something that may not be in the file yet")
    with without_the_right_to_write(readable_folder), pytest.raises(StoreUnavailable):
        SqliteStore(path, HashedWords())


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
