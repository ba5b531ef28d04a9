"""How the store's file is opened: one connection to write, and as many as are needed to read.

Only through apsw: Python's `sqlite3` carries a second copy of SQLite, and two copies on one file
in one process drop each other's POSIX locks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import apsw
import sqlite_vec

from search.errors import StoreError, StoreUnavailable
from search.store import store_flag

BUSY_TIMEOUT_MS = 30_000
# A vector of 384 floats takes 1.5 KB: large pages waste less and scan faster than 4 KB ones.
PAGE_SIZE = 16_384
ATTEMPTS = 20

T = TypeVar("T")

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
def translate_errors(path: Path, *, opening: bool = False) -> Iterator[None]:
    """Turn apsw's errors into StoreError or StoreUnavailable that name the file and the fix.

    `opening`: what fails is needed before `ingest --verify` can look for damage, too.
    """
    try:
        yield
    # A text that is no UTF-8, which apsw meets where it reads a column, was not written so.
    except (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError) as error:
        verify = f"; `two-stage ingest --verify{store_flag(path)}` says where" * (not opening)
        raise StoreError(
            f"{path} is not a store, or is damaged ({error}){verify}. Restore a copy of it, or "
            "delete it and ingest again"
        ) from error
    except apsw.Error as error:
        for kind, advice in _UNAVAILABLE.items():
            if isinstance(error, kind):
                raise StoreUnavailable(f"{path} {advice} ({error})") from error
        raise StoreError(f"{path}: {error}") from error


def connect(path: Path, *, create: bool = False, read_only: bool = False) -> apsw.Connection:
    """Open `path` in WAL mode: a commit survives a power cut, readers never wait for a writer.

    A connection must not be used by two threads at once. Raises StoreError, StoreUnavailable.
    """
    with translate_errors(path, opening=True):
        if read_only:
            return _configured(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY))
        if create:
            _make_folder(path.parent)
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        return _configured(apsw.Connection(str(path), flags=flags), writable=True)


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


class Readers:
    """Reads one file from any number of threads, each on a connection of its own.

    Connections are kept for the next reader. `prepare` is called once with each new one, `forget`
    when what has been read was torn by a writer that could not be kept away.
    """

    def __init__(
        self,
        path: Path,
        prepare: Callable[[apsw.Connection], None],
        forget: Callable[[], None],
    ) -> None:
        self._path = path
        self._prepare = prepare
        self._forget = forget
        self._idle: list[_Reader] = []  # append and pop need no lock
        self._closed = False

    def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """What `work` makes of one state of the store: its queries see no write in between.

        `work` runs again when the state was torn.
        """
        for attempt in range(ATTEMPTS):
            reader = self._take(attempt)
            if reader is None:
                continue
            try:
                with translate_errors(self._path), transaction(reader.connection, "DEFERRED"):
                    result = work(reader.connection)
            except BaseException:
                whole = reader.is_unchanged(self._path)
                reader.connection.close()
                if whole:
                    raise
                self._forget()
                continue
            if reader.is_unchanged(self._path):
                self._give_back(reader)
                return result
            self._forget()
            reader.connection.close()
        raise StoreUnavailable(
            f"{self._path} lies in a folder that this process may not write to, and is being "
            "written to by another; wait for that to end and try again"
        )

    def close(self) -> None:
        """Close every connection; one that is in use is closed at the end of its use."""
        self._closed = True
        while self._idle:
            self._idle.pop().connection.close()

    def _take(self, attempt: int) -> _Reader | None:
        """An idle reader or a new one; None when a writer has only begun to make its files."""
        while self._idle:
            try:
                reader = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if reader.is_unchanged(self._path):
                return reader
            reader.connection.close()
        try:
            reader = _open_reader(self._path)
        except StoreUnavailable:
            if attempt == ATTEMPTS - 1 or not _log(self._path).exists():
                raise
            time.sleep(0.05)
            return None
        try:
            with translate_errors(self._path, opening=True):
                self._prepare(reader.connection)
        except BaseException:
            reader.connection.close()
            raise
        return reader

    def _give_back(self, reader: _Reader) -> None:
        self._idle.append(reader)
        if self._closed:
            self.close()


@dataclass(frozen=True, slots=True)
class _Reader:
    """A connection; `frozen` is the state of a file that SQLite reads without locking it."""

    connection: apsw.Connection
    frozen: _State | None

    def is_unchanged(self, path: Path) -> bool:
        """Whether all that was read belongs together. SQLite sees to that where it can lock.

        A writer makes its log before anything else, and only later writes to the file itself.
        """
        return self.frozen is None or self.frozen == _State.of(path)


@dataclass(frozen=True, slots=True)
class _State:
    """What every write changes."""

    log: bool
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> _State:
        log = _log(path).exists()
        try:
            status = path.stat()
        except OSError:  # it has been removed, which is a change, too
            return cls(log, 0, 0, 0)
        return cls(log, status.st_ino, status.st_size, status.st_mtime_ns)


def _open_reader(path: Path) -> _Reader:
    """In a folder where WAL's shared memory cannot be made, the file is read without locks."""
    try:
        return _Reader(connect(path, read_only=True), None)
    except StoreUnavailable as error:
        no_shared_memory = isinstance(error.__cause__, apsw.CantOpenError | apsw.ReadOnlyError)
        if not no_shared_memory or not path.is_file() or _log(path).exists():
            raise
    with translate_errors(path, opening=True):
        state = _State.of(path)
        uri = f"{path.absolute().as_uri()}?immutable=1"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        return _Reader(_configured(apsw.Connection(uri, flags=flags)), state)


def _configured(connection: apsw.Connection, *, writable: bool = False) -> apsw.Connection:
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        if writable:
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            _to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except apsw.Error:
        connection.close()
        raise
    return connection


def _to_wal(connection: apsw.Connection) -> None:
    """SQLite waits for every lock but this one: several processes may make one store at once."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"the store's folder {folder} cannot be made: {error.strerror}; set `store` elsewhere"
        ) from error
