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

from search.errors import StoreError, StoreMissing, StoreUnavailable
from search.store import store_flag
from search.store.sqlite.writing import is_encodable

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


def check_path(path: Path) -> None:
    """StoreError for what is no file, and cannot become one."""
    if not is_encodable(str(path)):
        raise StoreError(
            f"{path} is no valid UTF-8, which the name of a store must be: set `store` to another "
            "path, or rename the folder"
        )
    if path.name == ":memory:":
        raise StoreError("a store is a file, and :memory: is none: set `store` to a file's path")
    if path.is_dir():
        raise StoreError(
            f"{path} is a folder: set `store` to a file in it, such as {path}/store.db"
        )
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is not a regular file: set `store` to a file's path")


def missing(path: Path) -> StoreMissing:
    """What to tell someone who searches before there is a store."""
    return StoreMissing(
        f"there is no store at {path} yet: run `two-stage ingest PATH{store_flag(path)}` first"
    )


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
    when what has been read was torn by a writer that could not be kept away, or the file was put in
    the place of another.
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
    """A connection to the file that was there; `frozen` says that SQLite reads it without locks."""

    connection: apsw.Connection
    state: _State
    frozen: bool = False

    def is_unchanged(self, path: Path) -> bool:
        """Whether all that was read belongs together, and to the file that is there now.

        Where it can lock, SQLite sees to the first. Where not: a writer makes its log before
        anything else, and only later writes to the file itself.
        """
        now = _State.of(path)
        return now == self.state if self.frozen else now.file == self.state.file


@dataclass(frozen=True, slots=True)
class _State:
    """What every write changes."""

    log: bool
    file: tuple[int, int]  # device and inode: another file of the same name has others
    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> _State:
        log = _has_log(path)
        try:
            status = path.stat()
        except OSError:  # it has been removed, which is a change, too
            return cls(log, (0, 0), 0, 0)
        file = (status.st_dev, status.st_ino)
        return cls(log, file, status.st_size, status.st_mtime_ns)


def _open_reader(path: Path) -> _Reader:
    """In a folder where WAL's shared memory cannot be made, the file is read without locks."""
    if not path.is_file():
        raise missing(path)
    try:
        # The state first: a file put in its place meanwhile is then taken for a change.
        state = _State.of(path)
        return _Reader(connect(path, read_only=True), state)
    except StoreUnavailable as error:
        no_shared_memory = isinstance(error.__cause__, apsw.CantOpenError | apsw.ReadOnlyError)
        if not no_shared_memory or _has_log(path):
            raise
    with translate_errors(path, opening=True):
        state = _State.of(path)
        uri = f"{path.absolute().as_uri()}?immutable=1"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        return _Reader(_configured(apsw.Connection(uri, flags=flags)), state, frozen=True)


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


def _has_log(path: Path) -> bool:
    """Whether something was written that may not be in the file yet: an empty log is left over."""
    try:
        return _log(path).stat().st_size > 0
    except FileNotFoundError:
        return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"the store's folder {folder} cannot be made: {error.strerror}; set `store` elsewhere"
        ) from error
