"""Scores in a file of their own, beside the store: quick, bounded, and no loss when it is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import apsw

from search.rerank.cache import CacheError
from search.rerank.encoder import Scored

BYTES_PER_SCORE = 100
"""Room for one in the file, its index included; 66 to 90 measured."""
SLACK = 65536
"""Of an empty file, and of one that is as full as it may be."""
BUSY_MS = 100
AT_ONCE = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS scores (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    logit REAL NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
)
"""
# A score that is there already gets a new id: it counts as the newest.
_PUT = "INSERT OR REPLACE INTO scores (key, logit, first, last) VALUES (?, ?, ?, ?)"
_DROP = "DELETE FROM scores WHERE id <= (SELECT max(id) FROM scores) - ?"


class SqliteScores:
    """One file for any number of processes. Beyond `max_bytes` the least used scores go.

    A power cut may cost what was written last, a damaged file is made anew. Raises CacheError.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._most = max(1, max_bytes // BYTES_PER_SCORE)
        self._damaged = False
        self._reading, self._writing = Lock(), Lock()
        self._again: dict[bytes, Scored] = {}
        with self._translate_errors():
            self._open(max_bytes)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Scored]:
        """The scores that are there. One that would go soon is kept for longer: it is in use."""
        found: dict[bytes, Scored] = {}
        with self._reading, self._translate_errors():
            for start in range(0, len(keys), AT_ONCE):
                part = keys[start : start + AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = self._reader.execute(
                    f"SELECT id, key, logit, first, last FROM scores WHERE key IN ({marks})", part
                )
                for number, key, logit, first, last in rows:
                    found[key] = Scored(logit, (first, last))
                    if number < self._newest - self._most // 2:
                        self._again[key] = found[key]
        return found

    def put(self, scores: Mapping[bytes, Scored]) -> None:
        """In transactions small enough to keep nobody waiting."""
        with self._reading:
            again, self._again = self._again, {}
        rows = [(key, s.logit, *s.span) for key, s in ({**again, **scores}).items()]
        with self._writing, self._translate_errors():
            for start in range(0, len(rows), AT_ONCE):
                with self._writer:
                    self._writer.executemany(_PUT, rows[start : start + AT_ONCE])
                    self._writer.execute(_DROP, (self._most,))
            self._newest = self._read_newest()

    def close(self) -> None:
        """Release the file, and remove it if it is damaged."""
        with self._reading, self._writing:
            self._reader.close()
            self._writer.close()
            if self._damaged:
                self._remove()

    def _open(self, max_bytes: int) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size > max_bytes + SLACK:
            self._remove()  # the bound was lowered
        try:
            self._connect()
        except (apsw.NotADBError, apsw.CorruptError):
            self._remove()
            self._connect()

    def _connect(self) -> None:
        self._writer = self._connection()
        self._reader = self._connection()
        self._newest = self._read_newest()

    def _read_newest(self) -> int:
        newest: int | None = self._writer.execute("SELECT max(id) FROM scores").get
        return newest or 0

    def _connection(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path))
        try:
            connection.set_busy_timeout(BUSY_MS)
            # OFF: nothing waits for the disk, and a file that a power cut damages is made anew.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(_SCHEMA)
        except apsw.Error:
            connection.close()
            raise
        return connection

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (apsw.Error, OSError) as error:
            self._damaged = isinstance(error, apsw.CorruptError | apsw.NotADBError)
            raise CacheError(str(error)) from error
