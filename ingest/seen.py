"""The ids of one run, on disk: a duplicate is found however large the input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw

from ingest.record import location
from search.errors import StoreUnavailable


class Seen:
    """A temporary SQLite database of our own; it vanishes on close, or with the process."""

    def __init__(self) -> None:
        self._connection = apsw.Connection("")
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute(
            "CREATE TABLE seen (id TEXT PRIMARY KEY, file TEXT, line INTEGER) WITHOUT ROWID;"
            "CREATE TABLE protected (id TEXT PRIMARY KEY) WITHOUT ROWID"
        )

    def claim(self, document_id: str, file: str, line: int | None) -> str | None:
        """None for an id that is new, else the location of the record that had it first."""
        with _translate_errors():
            self._connection.execute(
                "INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (document_id, file, line)
            )
        if self._connection.changes():
            return None
        query = "SELECT file, line FROM seen WHERE id = ?"
        first: Any = self._connection.execute(query, (document_id,)).fetchone()
        return location(*first)

    def protect_from_prune(self, document_id: str | None) -> None:
        """The record was rejected, yet its id is in the input: not to be pruned, free to claim."""
        if document_id is not None:
            with _translate_errors():
                self._connection.execute(
                    "INSERT OR IGNORE INTO protected VALUES (?)", (document_id,)
                )

    def __contains__(self, document_id: str) -> bool:
        query = "SELECT 1 FROM seen WHERE id = ?1 UNION ALL SELECT 1 FROM protected WHERE id = ?1"
        return self._connection.execute(query, (document_id,)).fetchone() is not None

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise StoreUnavailable(
            f"the ids of this run cannot be kept among the temporary files ({error}); make room "
            "there, or name another folder for them in the variable TMPDIR"
        ) from None
