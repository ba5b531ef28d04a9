"""Objects to a server: in requests that it can take, sent again where that may help."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from uuid import UUID

from weaviate.collections.classes.batch import BatchObjectReturn
from weaviate.exceptions import (
    WeaviateBatchError,
    WeaviateInsertManyAllFailedError,
    WeaviateRetryError,
)

from config import WeaviateSettings
from search.errors import StoreUnavailable
from search.store.weaviate.errors import (
    STARTING_SECONDS,
    is_broken_off,
    is_deadline,
    is_starting,
    is_too_large,
    server_fault,
    short,
)
from search.store.weaviate.objects import Object, batched
from search.store.weaviate.server import Server

SMALLEST_REQUEST = 1024
ATTEMPTS = 3
PAUSE_SECONDS = 0.5
RECONNECTS = 3  # the client itself tries each insert for 15 seconds
SMALLER = 8  # a request that took too long is sent again in parts of this fraction, once
_BYTES_PER_NUMBER = 4
_OVERHEAD = 300
_ALL_ERRORS = "set of all errors: "

log = logging.getLogger(__name__)


class Sender:
    """Sends by `insert_many`, which says what failed. The client's streams can lose objects
    without a word when the connection breaks (seen with 4.23), so they are not used.
    """

    def __init__(self, server: Server, collection: Any, settings: WeaviateSettings) -> None:
        self._server = server
        self._collection = collection
        self._request_bytes = settings.batch_bytes
        self._concurrency = settings.concurrency

    def send(self, objects: Sequence[Object]) -> dict[UUID, str]:
        """Store all; returns the reason of each that the server refuses even when asked again.

        Raises the client's error, or StoreUnavailable where no object is to blame.
        """
        waiting = list(objects)
        failed: dict[UUID, str] = {}
        started, attempt = time.monotonic(), 0
        while waiting and attempt < ATTEMPTS:
            time.sleep(PAUSE_SECONDS * attempt)
            failed = self._send_all(waiting)
            waiting = [one for one in waiting if one.uuid in failed]
            starting = any(map(is_starting, failed.values()))
            if not starting or time.monotonic() - started > STARTING_SECONDS:
                attempt += 1
            else:
                time.sleep(PAUSE_SECONDS)
        for reason in failed.values():
            fault = server_fault(reason, self._server.url)
            if fault is not None:
                raise fault
        return failed

    def _send_all(self, objects: Sequence[Object]) -> dict[UUID, str]:
        requests = list(cut(objects, self._request_bytes))
        failed: dict[UUID, str] = {}
        with ThreadPoolExecutor(self._concurrency) as pool:
            for reasons in pool.map(self._request, requests):
                failed |= reasons
        return failed

    def _request(self, objects: Sequence[Object], smaller: bool = False) -> dict[UUID, str]:
        """One request; where the server is too slow or too small for it, its parts."""
        try:
            done = self._insert(objects)
        except WeaviateInsertManyAllFailedError as error:
            return _reasons(objects, error.message)
        except WeaviateBatchError as error:
            if is_too_large(error.message):
                if len(objects) == 1:
                    return {_id(objects[0]): short(error.message)}
                return self._parts(objects, 2, smaller)
            if not is_deadline(error.message) or len(objects) == 1 or smaller:
                raise
            self._require_life(len(objects), error.message)
            return self._parts(objects, SMALLER, True)
        return {_id(objects[i]): short(error.message) for i, error in done.errors.items()}

    def _parts(self, objects: Sequence[Object], count: int, smaller: bool) -> dict[UUID, str]:
        self._request_bytes = max(SMALLEST_REQUEST, self._request_bytes // count)
        failed: dict[UUID, str] = {}
        for part in batched(objects, -(-len(objects) // count)):
            failed |= self._request(part, smaller)
        return failed

    def _require_life(self, count: int, said: str) -> None:
        """Raises StoreUnavailable where the server is not slow, but silent."""
        if not self._server.lives():
            raise StoreUnavailable(
                f"Weaviate at {self._server.url} fell silent while {count} passages were sent "
                f"({short(said)}), and its REST or gRPC no longer answers: see its log and the way "
                "to it, and run the same command again: what it confirmed is kept"
            )
        log.warning(
            "Weaviate at %s took longer than weaviate.timeout_insert for %d passages; "
            "sending fewer at a time",
            self._server.url,
            count,
        )

    def _insert(self, objects: Sequence[Object]) -> BatchObjectReturn:
        """Wait for a server that restarts as long as the client does when it reads: a minute."""
        started = time.monotonic()
        for attempt in count():
            try:
                return self._collection.data.insert_many(objects)  # type: ignore[no-any-return]
            except WeaviateRetryError:
                if attempt >= RECONNECTS:
                    raise
            except WeaviateBatchError as error:
                passing = is_broken_off(error.message) or is_starting(error.message)
                if not passing or time.monotonic() - started > STARTING_SECONDS:
                    raise
                time.sleep(PAUSE_SECONDS)
        raise AssertionError("unreachable")


def cut(objects: Sequence[Object], request_bytes: int) -> Iterator[list[Object]]:
    """Runs of objects of at most that many bytes, or of one object that is larger."""
    run: list[Object] = []
    size = 0
    for one in objects:
        bytes_of_one = _size(one)
        if run and size + bytes_of_one > request_bytes:
            yield run
            run, size = [], 0
        run.append(one)
        size += bytes_of_one
    if run:
        yield run


def _reasons(objects: Sequence[Object], said: str) -> dict[UUID, str]:
    """The client gives the reasons of a wholly failed request as lines; most name their object."""
    lines = said.partition(_ALL_ERRORS)[2].splitlines()
    return {
        _id(one): short(next((line for line in lines if str(one.uuid) in line), " ".join(lines)))
        for one in objects
    }


def _size(one: Object) -> int:
    texts = sum(len(v.encode()) for v in one.properties.values() if isinstance(v, str))
    vectors = sum(len(v) for v in one.vector.values()) if isinstance(one.vector, dict) else 0
    return texts + vectors * _BYTES_PER_NUMBER + _OVERHEAD


def _id(one: Object) -> UUID:
    assert isinstance(one.uuid, UUID)
    return one.uuid
