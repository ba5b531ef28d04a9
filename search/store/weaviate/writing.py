"""Documents in place of their earlier versions: sent, made durable, and confirmed by reading back.

Weaviate has no transactions: the order of steps stands in for one. Whoever kills client or server
in between leaves a mixture, which does not count as stored, and which the next ingest sends again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from weaviate.classes.data import DataObject
from weaviate.collections.classes.batch import BatchObjectReturn
from weaviate.exceptions import (
    WeaviateBatchError,
    WeaviateInsertManyAllFailedError,
    WeaviateRetryError,
)

from config import WeaviateSettings
from search.errors import ModelError, StoreUnavailable
from search.store import Embedder
from search.store.sqlite.writing import is_encodable
from search.store.weaviate.client import Server
from search.store.weaviate.errors import (
    STARTING_SECONDS,
    is_broken_off,
    is_deadline,
    is_starting,
    is_too_large,
    server_fault,
    short,
)
from search.store.weaviate.objects import (
    MAX_RESULTS,
    Object,
    Objects,
    PassageKey,
    Passages,
    objects_of,
    whole,
)
from search.store.weaviate.schema import metadata_properties, missing_properties
from search.types import Entry, Failure, passage_input

SMALLEST_REQUEST = 1024
ATTEMPTS = 3
PAUSE_SECONDS = 0.5
RECONNECTS = 3  # the client itself tries each insert for 15 seconds
SMALLER = 8  # a request that took too long is sent again in parts of this fraction, once
MENDING_ROUNDS = 2
QUEUE_PAGE = 1000
QUEUE_PAUSE_SECONDS = 0.3
EMPTY_LOOKS = 4  # in a row, since a queue may be empty a moment before its last vectors are there
UNKNOWN_SECONDS = 10
STUCK_SECONDS = 60
STUCK_AGAIN_SECONDS = 3
_BYTES_PER_NUMBER = 4
_OVERHEAD = 300
_ALL_ERRORS = "set of all errors: "

log = logging.getLogger(__name__)

T = TypeVar("T")


class Writer:
    """Writes whole documents into one class."""

    def __init__(self, objects: Objects, sender: Sender, queue: Queue) -> None:
        self._objects = objects
        self._sender = sender
        self._queue = queue
        self.saw_crash = False  # whether anything was found as only a stopped server leaves it

    def replace(self, entries: Sequence[Entry], embedder: Embedder | None) -> list[Failure]:
        """Store these different documents; returns those that are not whole on the server.

        Without an embedder the server makes the vectors.
        """
        vectors = None if embedder is None else _embed(entries, embedder)
        failures = [] if vectors is None else self._odd_vectors(vectors)
        odd = {failure.document_id for failure in failures}
        entries = [entry for entry in entries if entry.document.id not in odd]
        self._add_properties(entries)
        before = self._objects.passages(entry.document.id for entry in entries)
        self.saw_crash |= any(whole(passages) is None for passages in before.values())
        sent = self._objects_of(entries, vectors)
        missing = self._confirmed(sent, self._sender.send(list(sent.values())))
        remove: list[PassageKey] = []
        for entry in entries:
            name, size = entry.document.id, len(entry.passages)
            reason = next(
                (missing[key] for i in range(size) if (key := PassageKey(name, i)) in missing),
                None,
            )
            there = before.get(name, {})
            if reason is None:
                remove += [PassageKey(name, i) for i in _extent(there) if i >= size]
                continue
            failures.append(Failure(name, reason))
            if not there:  # half of a new document would be found by searches
                remove += [PassageKey(name, i) for i in range(size)]
        self._objects.remove(remove)
        return failures

    def mend(self, keys: Sequence[PassageKey]) -> dict[PassageKey, str]:
        """Make these passages anew from what is stored of them, so that all indexes have them.

        The reasons of those that could not be.
        """
        self.saw_crash = True
        found = self._objects.with_vectors(keys)
        objects = {
            key: DataObject(
                uuid=key.identity,
                properties={n: v for n, v in one.properties.items() if v is not None},
                vector=dict(one.vector) or None,
            )
            for key, one in found.items()
        }
        return self._sent_anew(objects) | {k: "it is gone" for k in keys if k not in found}

    def _confirmed(
        self, sent: Mapping[PassageKey, Object], refused: Mapping[UUID, str]
    ) -> dict[PassageKey, str]:
        """Why each passage that is not there for certain is not."""
        missing = {
            key: f"Weaviate refuses passage {key.passage}: {refused[key.identity]}"
            for key in sent
            if key.identity in refused
        }
        taken = {key: one for key, one in sent.items() if key not in missing}
        self._objects.flush(list(taken))
        absent = self._absent(taken)
        self.saw_crash |= bool(absent)
        for _ in range(MENDING_ROUNDS):
            if not absent:
                break
            missing |= (refused_again := self._sent_anew({key: taken[key] for key in absent}))
            taken = {key: taken[key] for key in absent if key not in refused_again}
            absent = self._absent(taken)
        return missing | {
            key: f"passage {key.passage}: the server confirmed it, but does not find it"
            for key in absent
        }

    def _sent_anew(self, objects: Mapping[PassageKey, Object]) -> dict[PassageKey, str]:
        """Deleted and sent: an object that is there in this form would be skipped, whatever its
        indexes lack."""
        self._objects.remove_each(key.identity for key in objects)
        refused = self._sender.send(list(objects.values()))
        self._objects.flush(list(objects))
        return {
            key: f"Weaviate refuses passage {key.passage}: {refused[key.identity]}"
            for key in objects
            if key.identity in refused
        }

    def _absent(self, sent: Mapping[PassageKey, Object]) -> list[PassageKey]:
        """Those that the server does not find in this version, by properties or by vector."""
        later = self._queue.is_used
        names = dict.fromkeys(key.document_id for key in sent)
        there = self._objects.passages(names, indexed=not later)
        absent = []
        for key, one in sent.items():
            version = there.get(key.document_id, {}).get(key.passage)
            content_hash = one.properties["content_hash"]
            seen = version is not None and version.content_hash == content_hash
            # The index of a replica may lag behind; by id the consistency level holds.
            if not (seen or (self._objects.replicated and self._objects.has(key, content_hash))):
                absent.append(key)
        if later:
            self._queue.add(key for key in sent if key not in set(absent))
        return absent

    def _add_properties(self, entries: Sequence[Entry]) -> None:
        wanted = [n for entry in entries for n in metadata_properties(entry.document.metadata)]
        if not missing_properties(wanted, self._objects.properties):
            return
        self._objects.refresh_properties()
        for definition in missing_properties(wanted, self._objects.properties):
            self._objects.collection.config.add_property(definition)
            self._objects.properties.add(definition.name)

    def _odd_vectors(self, vectors: Mapping[str, list[NDArray[np.float32]]]) -> list[Failure]:
        """A server that indexes later takes a vector of another length, and never finds it."""
        expected = self._objects.dimensions
        return [
            Failure(name, f"a vector of it has {row.size} dimensions, the class's have {expected}")
            for name, rows in vectors.items()
            for row in rows
            if row.size != expected
        ]

    def _objects_of(
        self,
        entries: Sequence[Entry],
        vectors: Mapping[str, list[NDArray[np.float32]]] | None,
    ) -> dict[PassageKey, Object]:
        objects: dict[PassageKey, Object] = {}
        for entry in entries:
            name = entry.document.id
            rows = None if vectors is None else vectors[name]
            made = objects_of(entry, rows, self._objects.properties)
            objects |= {PassageKey(name, i): one for i, one in enumerate(made)}
        return objects


class Queue:
    """Passages sent to a server that indexes vectors later, from a queue on its disk, as far as
    they have not been seen in the vector index.

    A server killed at the wrong moment keeps an object and loses its entry in the queue: so each is
    looked for, and what has not come once the queue is empty is sent anew.
    """

    def __init__(self, server: Server, objects: Objects) -> None:
        self._server = server
        self._objects = objects
        # Where the server does not say, what is not found at once is waited for.
        self.is_used = server.indexes_later() is not False
        self._waiting: dict[PassageKey, None] = {}
        self._patience: float = STUCK_SECONDS

    def __contains__(self, key: PassageKey) -> bool:
        return key in self._waiting

    def add(self, keys: Iterable[PassageKey]) -> None:
        """Remember these, and forget a page of older ones that are there by now."""
        self._forget_indexed(list(islice(self._waiting, QUEUE_PAGE)))
        self._waiting |= dict.fromkeys(keys)

    def settle(self) -> list[PassageKey]:
        """Wait until the vector index holds all; those that it does not though nothing waits.

        Ends early, and says so, where nothing changes for a long time: they are on the disk.
        """
        changed, empty = time.monotonic(), 0
        while self._waiting:
            length = self._server.queue_length(self._objects.collection.name)
            before = len(self._waiting)
            for page in batched(list(self._waiting), QUEUE_PAGE):
                self._forget_indexed(page)
            quiet = time.monotonic() - changed
            empty = empty + 1 if length == 0 and len(self._waiting) == before else 0
            if empty >= EMPTY_LOOKS or (length is None and quiet > UNKNOWN_SECONDS):
                lost, self._waiting = list(self._waiting), {}
                return lost
            if len(self._waiting) < before:
                changed = time.monotonic()
            elif quiet > self._patience:
                log.warning(
                    "Weaviate at %s does not index %d passages by vector, which are on its disk: "
                    "see its log, and restart it if its disk was full",
                    self._objects.url,
                    len(self._waiting),
                )
                self._waiting, self._patience = {}, STUCK_AGAIN_SECONDS
            if self._waiting:
                time.sleep(QUEUE_PAUSE_SECONDS)
        return []

    def lost(self, keys: Iterable[PassageKey]) -> list[PassageKey]:
        """Those of these passages that are not in the vector index, and not on their way there."""
        doubtful = [key for key in keys if key not in self._waiting]
        for key in doubtful:
            self._waiting[key] = None
        self._forget_indexed(doubtful)
        if not any(key in self._waiting for key in doubtful):
            return []
        lost, asked = self.settle(), set(doubtful)
        self._waiting |= dict.fromkeys(key for key in lost if key not in asked)
        return [key for key in lost if key in asked]

    def _forget_indexed(self, keys: Sequence[PassageKey]) -> None:
        there = self._objects.passages((key.document_id for key in keys), indexed=True)
        for key in keys:
            if key.passage in there.get(key.document_id, {}):
                self._waiting.pop(key, None)


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


def not_sendable(entry: Entry) -> str | None:
    """Why Weaviate could not hold a document that the embedded store takes."""
    if len(entry.passages) > MAX_RESULTS:
        return f"it has {len(entry.passages):,} passages; Weaviate reads back {MAX_RESULTS:,}"
    if not is_encodable(json.dumps(dict(entry.document.metadata), ensure_ascii=False)):
        return "its metadata holds half of a surrogate pair, which has no UTF-8 form"
    return None


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Runs of at most that many."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _embed(entries: Sequence[Entry], embedder: Embedder) -> dict[str, list[NDArray[np.float32]]]:
    """The vectors of each document's passages, in order. Raises ModelError."""
    texts = [passage_input(one.document.title, p.text) for one in entries for p in one.passages]
    rows = list(embedder.encode_passages(texts))
    if len(rows) != len(texts) or not all(np.isfinite(row).all() for row in rows):
        raise ModelError(
            f"the embedding model {embedder.info.name!r} gave {len(rows)} vectors for "
            f"{len(texts)} texts, expected as many, and finite; nothing of this batch was sent"
        )
    row = iter(rows)
    return {one.document.id: list(islice(row, len(one.passages))) for one in entries}


def _extent(there: Passages) -> set[int]:
    """Every passage that may be there: the index of properties may have lost some."""
    return set(there) | {i for version in there.values() for i in range(version.passage_count)}


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
