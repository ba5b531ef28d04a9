"""Objects to the server in bounded requests, with an account of each: stored, or why not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

from weaviate.classes.data import DataObject
from weaviate.collections import Collection
from weaviate.collections.classes.batch import BatchObjectReturn
from weaviate.exceptions import (
    WeaviateBatchError,
    WeaviateInsertManyAllFailedError,
    WeaviateRetryError,
)

from search.store.weaviate.faults import blamed_on_server, is_deadline, is_too_large, short

Object = DataObject[dict[str, Any], None]

SMALLEST_REQUEST = 1024
ATTEMPTS = 3
PAUSE_SECONDS = 0.5
RECONNECTS = 3  # the client itself tries each insert for 15 seconds
_BYTES_PER_NUMBER = 4
_OVERHEAD = 300
_ALL_ERRORS = "set of all errors: "


class Sender:
    """Sends by `insert_many`, which says what failed. The client's streams can lose objects
    without a word when the connection breaks (seen with 4.23), so they are not used.
    """

    def __init__(
        self, collection: Collection[Any, Any], place: str, request_bytes: int, concurrency: int
    ) -> None:
        self._collection = collection
        self._place = place
        self._request_bytes = request_bytes
        self._concurrency = concurrency

    def send(self, objects: Sequence[Object]) -> dict[UUID, str]:
        """Store all; returns the reason of each that the server refuses even when asked again.

        Raises the client's error, or StoreUnavailable where no object is to blame.
        """
        waiting = list(objects)
        for attempt in range(ATTEMPTS):
            time.sleep(PAUSE_SECONDS * attempt)
            failed = self._send_all(waiting)
            waiting = [one for one in waiting if one.uuid in failed]
            if not waiting:
                break
        for reason in failed.values():
            fault = blamed_on_server(reason, self._place)
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

    def _request(self, objects: Sequence[Object]) -> dict[UUID, str]:
        """One request; where the server is too slow or too small for it, its two halves."""
        try:
            done = self._insert(objects)
        except WeaviateInsertManyAllFailedError as error:
            return _reasons(objects, error.message)
        except WeaviateBatchError as error:
            too_large = is_too_large(error.message)
            if len(objects) == 1 and too_large:
                return {_id(objects[0]): short(error.message)}
            if len(objects) == 1 or not (too_large or is_deadline(error.message)):
                raise
            self._request_bytes = max(SMALLEST_REQUEST, self._request_bytes // 2)
            middle = len(objects) // 2
            return self._request(objects[:middle]) | self._request(objects[middle:])
        return {_id(objects[i]): short(error.message) for i, error in done.errors.items()}

    def _insert(self, objects: Sequence[Object]) -> BatchObjectReturn:
        """Wait for a server that restarts as long as the client does when it reads: a minute."""
        for _ in range(RECONNECTS):
            with suppress(WeaviateRetryError):
                return self._collection.data.insert_many(objects)
        return self._collection.data.insert_many(objects)


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
