"""One ingest at a time into one store: a second one is told who is at work.

The lock is SQLite's own, on a small file beside the ledger. It goes with the process, however that
ends; who holds it stands in the file. Against an ingest on another machine into the same Weaviate
class it does not help.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import apsw

from search.errors import StoreUnavailable
from search.store.sqlite.connection import connect, translate_errors

HOLDER = "CREATE TABLE IF NOT EXISTS holder (one INTEGER PRIMARY KEY, process, host, since)"


@contextmanager
def only_ingest(ledger: Path) -> Iterator[None]:
    """Hold the lock beside `ledger`. Raises StoreUnavailable when another process has it."""
    path = ledger.with_name(f"{ledger.name}-ingest")
    with closing(connect(path, create=True)) as connection, translate_errors(path):
        connection.set_busy_timeout(0)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(HOLDER)
            since = datetime.now().astimezone().isoformat(" ", "seconds")
            us = (os.getpid(), platform.node(), since)
            connection.execute("INSERT OR REPLACE INTO holder VALUES (1, ?, ?, ?)", us)
            connection.execute("COMMIT")  # others can read it
            connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            raise StoreUnavailable(
                f"another ingest into {ledger} is at work ({_holder(connection)}); wait for it to "
                "end, then run this again"
            ) from None
        yield


def _holder(connection: apsw.Connection) -> str:
    if not connection.table_exists("main", "holder"):
        return "it has just begun"
    query = "SELECT process, host, since FROM holder"
    process, host, since = connection.execute(query).fetchone() or ("?", "?", "?")
    return f"process {process} on {host}, since {since}"
