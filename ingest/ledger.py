"""What was ingested, from where and when: a table beside the store's own, in the same file.

A row is written only after the store has confirmed the document. So a crash can leave the ledger
behind the store, never ahead of it, except while documents are removed; `mend` sets both right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from search.store import Store
from search.store.sqlite.connection import connect, transaction, translate_errors

TABLE = """
CREATE {kind} TABLE IF NOT EXISTS ingested (
    id TEXT PRIMARY KEY,
    content_hash TEXT NOT NULL,
    passages INTEGER,
    file TEXT,
    line INTEGER,
    time TEXT NOT NULL
) WITHOUT ROWID
"""
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """One document as it was ingested; what a mended row does not know is None."""

    id: str
    content_hash: str
    passages: int | None = None
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Differences:
    """Ids on which the ledger and the store disagree."""

    missing: list[str]  # in the ledger, not in the store
    extra: list[str]  # in the store, not in the ledger
    changed: list[str]  # in both, with different content hashes

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.changed)


class Ledger:
    """The ledger in the file at `path`; when `read_only`, an absent file or table is empty."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        if read_only and not path.is_file():
            self._connection = apsw.Connection("")
        else:
            self._connection = connect(path, create=not read_only, read_only=read_only)
        with translate_errors(path):
            if not read_only:
                self._connection.execute(TABLE.format(kind=""))
            elif not self._connection.table_exists("main", "ingested"):
                self._connection.execute(TABLE.format(kind="TEMP"))

    def __len__(self) -> int:
        with translate_errors(self._path):
            return int(self._connection.execute("SELECT count(*) FROM ingested").get)

    def write(self, rows: Iterable[Row]) -> None:
        """Add or replace these rows in one transaction."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        values = [(r.id, r.content_hash, r.passages, r.file, r.line, time) for r in rows]
        statement = "INSERT OR REPLACE INTO ingested VALUES (?, ?, ?, ?, ?, ?)"
        with translate_errors(self._path), transaction(self._connection):
            self._connection.executemany(statement, values)

    def forget(self, ids: Iterable[str]) -> None:
        with translate_errors(self._path), transaction(self._connection):
            self._connection.executemany(
                "DELETE FROM ingested WHERE id = ?", ((document_id,) for document_id in ids)
            )

    def hashes(self, ids: Iterable[str]) -> dict[str, str]:
        """The content hash of each of these ids that the ledger knows."""
        query = "SELECT content_hash FROM ingested WHERE id = ?"
        with translate_errors(self._path):
            found = {i: self._connection.execute(query, (i,)).get for i in ids}
        return {i: content_hash for i, content_hash in found.items() if content_hash is not None}

    def pages(self) -> Iterator[dict[str, str]]:
        """Ids and content hashes in the order of ids, some at a time; rows may go meanwhile."""
        query = "SELECT id, content_hash FROM ingested WHERE id > ? ORDER BY id LIMIT ?"
        last = ""
        while True:
            with translate_errors(self._path):
                rows: list[Any] = self._connection.execute(query, (last, PAGE)).fetchall()
            page: dict[str, str] = dict(rows)
            if not page:
                return
            yield page
            last = next(reversed(page))

    def differences(self, store: Store) -> Differences:
        """Compare every id and hash with the store's."""
        missing, extra, changed = [], [], []
        for page in self.pages():
            stored = _hashes(store, list(page))
            missing += [i for i in page if i not in stored]
            changed += [i for i in page if i in stored and stored[i] != page[i]]
        for ids in pages(store.ids()):
            known = self.hashes(ids)
            extra += [i for i in ids if i not in known]
        return Differences(missing, extra, changed)

    def mend(self, store: Store) -> Differences:
        """The store is the truth: take over what it holds, forget what it does not."""
        found = self.differences(store)
        for ids in pages(iter(found.extra + found.changed)):
            self.adopt(_hashes(store, ids))
        self.forget(found.missing)
        return found

    def adopt(self, stored: Mapping[str, str]) -> None:
        """Take over documents that the store holds but this ledger knows not, or otherwise."""
        known = self.hashes(stored)
        rows = [Row(i, content_hash) for i, content_hash in stored.items()]
        wrong = [row for row in rows if known.get(row.id) != row.content_hash]
        if wrong:
            self.write(wrong)

    def close(self) -> None:
        self._connection.close()


def _hashes(store: Store, ids: Sequence[str]) -> dict[str, str]:
    return {i: stored.content_hash for i, stored in store.stored(ids).items()}


def pages(ids: Iterator[str]) -> Iterator[Sequence[str]]:
    """Some at a time, as many as is good for one question."""
    while page := list(islice(ids, PAGE)):
        yield page
