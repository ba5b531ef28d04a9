"""One writer at a time into one store: a second one gets an error that names the first.

The lock is SQLite's own, on a small file beside the store. It goes with the process, however that
ends; who holds it stands in the file. Against a writer on another machine into the same Weaviate
class it does not help.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

import apsw

from config import Settings
from search.errors import StoreUnavailable
from search.store.sqlite.connection import check_path, connect, translate_errors

HOLDER = "CREATE TABLE IF NOT EXISTS holder (one INTEGER PRIMARY KEY, process, host, since)"


@contextmanager
def only_writer(settings: Settings) -> Iterator[None]:
    """Be the only writer of the settings' store. Raises StoreUnavailable where another is."""
    path = _lock_file(settings)
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
            store = settings.weaviate_url or settings.store
            raise StoreUnavailable(
                f"another process is writing to {store} ({_holder(connection)}); wait for it to "
                "end, then run this again"
            ) from None
        yield


def _lock_file(settings: Settings) -> Path:
    """Beside the embedded store's file; one for each Weaviate class and tenant."""
    if settings.weaviate_url is None:
        check_path(settings.store)
        return settings.store.with_name(f"{settings.store.name}-ingest")
    options = settings.weaviate
    target = f"{settings.weaviate_url} {options.collection} {options.tenant}"
    name = blake2b(target.encode(), digest_size=4).hexdigest()
    return settings.store.with_name(f"weaviate-{name}-ingest")


def _holder(connection: apsw.Connection) -> str:
    if not connection.table_exists("main", "holder"):
        return "it has just begun"
    query = "SELECT process, host, since FROM holder"
    process, host, since = connection.execute(query).fetchone() or ("?", "?", "?")
    return f"process {process} on {host}, since {since}"
