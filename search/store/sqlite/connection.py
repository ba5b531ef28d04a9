"""One way to open the store's file, for the store and for whoever keeps tables beside it.

Only through apsw: Python's `sqlite3` carries a second copy of SQLite, and two copies on one file
in one process drop each other's POSIX locks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import sqlite_vec

from search.errors import StoreError, StoreUnavailable

BUSY_TIMEOUT_MS = 30_000
# A vector of 384 floats takes 1.5 KB: large pages waste less and scan faster than 4 KB ones.
PAGE_SIZE = 16_384

_UNAVAILABLE: dict[type[apsw.Error], str] = {
    apsw.BusyError: "is locked by another process; wait for it to finish and try again",
    apsw.LockedError: "is locked by another process; wait for it to finish and try again",
    apsw.FullError: "cannot grow, the disk is full; free some space and run the same again",
    apsw.ReadOnlyError: "is read-only; make the file and its folder writable",
    apsw.CantOpenError: "cannot be opened; check that its folder exists and can be written to",
    apsw.PermissionsError: "cannot be accessed; check the file's permissions",
    apsw.IOError: "cannot be read or written; check the disk",
}


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn apsw's errors into StoreError or StoreUnavailable that name the file and the fix."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise StoreError(
            f"{path} is not a store, or is damaged ({error}); "
            "restore a copy of it, or delete it and ingest again"
        ) from error
    except apsw.Error as error:
        for kind, advice in _UNAVAILABLE.items():
            if isinstance(error, kind):
                raise StoreUnavailable(f"{path} {advice} ({error})") from error
        raise StoreError(f"{path}: {error}") from error


def connect(
    path: Path, *, create: bool = False, read_only: bool = False, timeout_ms: int = BUSY_TIMEOUT_MS
) -> apsw.Connection:
    """Open `path` in WAL mode: a commit survives a power cut, readers never wait for a writer.

    A connection must not be used by two threads at once. Raises StoreError, StoreUnavailable.
    """
    with translate_errors(path):
        if create:
            _make_folder(path.parent)
        connection = _open(path, create, read_only)
        try:
            connection.set_busy_timeout(timeout_ms)
            if not read_only:
                connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
                _to_wal(connection, timeout_ms)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except apsw.Error:
            connection.close()
            raise
        return connection


@contextmanager
def transaction(connection: apsw.Connection, mode: str = "IMMEDIATE") -> Iterator[None]:
    """All or nothing. IMMEDIATE takes the writer's lock at once, so it cannot fail half-way."""
    connection.execute(f"BEGIN {mode}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back by itself after some errors, such as a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def load_vector_functions(connection: apsw.Connection) -> None:
    """Add sqlite-vec's functions to this connection."""
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.enable_load_extension(False)


def _to_wal(connection: apsw.Connection, timeout_ms: int) -> None:
    """SQLite waits for every lock but this one: several processes may make one store at once."""
    deadline = time.monotonic() + timeout_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _open(path: Path, create: bool, read_only: bool) -> apsw.Connection:
    if not read_only:
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        return apsw.Connection(str(path), flags=flags)
    if _is_frozen(path):
        uri = f"{path.absolute().as_uri()}?immutable=1"
        return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


def _is_frozen(path: Path) -> bool:
    """On a read-only disk, with no log to replay: WAL's shared memory cannot be made there."""
    log = path.with_name(f"{path.name}-wal")
    return not os.access(path.parent, os.W_OK) and not log.exists()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"the store's folder {folder} cannot be made: {error.strerror}; set `store` elsewhere"
        ) from error
