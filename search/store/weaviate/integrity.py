"""Whether the server still has, and finds, what was stored; and making anew what it lost."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from weaviate.classes.query import Filter, MetadataQuery

from search.store import DEFAULT_SAMPLE
from search.store.weaviate import schema
from search.store.weaviate.objects import Objects, PassageKey, Passages, batched, whole
from search.store.weaviate.writing import Writer
from search.store.weaviate.writing.queue import Queue
from search.types import Fault

DOCUMENTS_A_QUESTION = 500
PASSAGES_MENDED = 500  # at once
IDS_SHOWN = 5
LOOKUPS_AT_ONCE = 4
SAME_DISTANCE = 1e-4
SETTLING_ROUNDS = 3

log = logging.getLogger(__name__)


class Integrity:
    """Of one class, or of one tenant in it. `words` gives a text as BM25 reads it."""

    def __init__(
        self, objects: Objects, writer: Writer, queue: Queue, words: Callable[[str], str]
    ) -> None:
        self._objects = objects
        self._writer = writer
        self._queue = queue
        self._words = words

    def check(self, sample: int | None) -> list[Fault]:
        """What is wrong; the passages of `sample` documents are looked up by vector and words."""
        self.settle()
        documents = self._documents()
        faults = self._count_faults(documents)
        lacking = self._lacking(documents)
        unfound = self._unfound(_sample(documents, sample)) - lacking
        return faults + _faults(documents, lacking, unfound)

    def repair(self) -> list[Fault]:
        """Make anew what the indexes lack; returns what is left."""
        self.settle()
        documents = self._documents()
        unfound = self._unfound(_sample(documents, DEFAULT_SAMPLE))
        if unfound:
            unfound = self._unfound(_sample(documents, None))
        for keys in batched(sorted(self._lacking(documents) | unfound), PASSAGES_MENDED):
            self._writer.mend(keys)
            self._queue.add(keys)
        return self.check(DEFAULT_SAMPLE)

    def settle(self) -> None:
        """Wait for what this process sent and the server indexes later; after a crash of the
        server, look everything up.
        """
        for _ in range(SETTLING_ROUNDS):
            lost = self._queue.settle()
            if not lost:
                break
            self._writer.mend(lost)
            self._queue.add(lost)
        else:
            log.warning(
                "Weaviate at %s does not index the vectors of some passages: see its log, and ask "
                "`two-stage ingest --verify`",
                self._objects.url,
            )
        if self._writer.saw_crash:
            self._writer.saw_crash = False
            self._mend_unreachable()

    def _mend_unreachable(self) -> None:
        """A crash can also leave a passage in the graph of vectors that can no longer be reached:
        searches then miss it, though it is there."""
        log.warning(
            "Weaviate at %s was stopped while it was written to; looking all passages up by vector",
            self._objects.url,
        )
        vectors, unreachable = self._objects.vectors(), []
        with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as pool:
            while page := list(islice(vectors, PASSAGES_MENDED)):
                found = pool.map(self._reaches, page)
                unreachable += [key for key, reached in found if not reached]
        for keys in batched(unreachable, PASSAGES_MENDED):
            self._writer.mend(keys)
            self._queue.add(keys)
        self._writer.saw_crash = False
        self._queue.settle()

    def _reaches(self, one: tuple[PassageKey, Any]) -> tuple[PassageKey, bool]:
        key, vector = one
        return key, bool(vector) and self._finds(key, vector)

    def _documents(self) -> dict[str, Passages]:
        documents: dict[str, Passages] = defaultdict(dict)
        for key, version in self._objects.all():
            documents[key.document_id][key.passage] = version
        return documents

    def _lacking(self, documents: Mapping[str, Passages]) -> set[PassageKey]:
        """The passages that are there, but that the index of properties or of vectors lacks."""
        lacking = self._unindexed(documents)
        if lacking and self._queue.is_used:  # another process's may be on their way
            self._queue.lost(lacking)
            lacking = self._unindexed({k.document_id: documents[k.document_id] for k in lacking})
        return lacking

    def _unindexed(self, documents: Mapping[str, Passages]) -> set[PassageKey]:
        lacking = set()
        for names in batched(list(documents), DOCUMENTS_A_QUESTION):
            there = self._objects.passages(names, indexed=True)
            lacking |= {
                PassageKey(name, index)
                for name in names
                for index in documents[name].keys() - there.get(name, {}).keys()
            }
        return lacking

    def _unfound(self, keys: Sequence[PassageKey]) -> set[PassageKey]:
        """Those of these passages that a search by their own vector, or words, does not find."""
        unfound = set()
        for key, one in self._objects.with_vectors(keys).items():
            vector = one.vector.get(schema.VECTOR)
            if not vector or not self._finds(key, vector) or not self._finds_words(key, one):
                unfound.add(key)
        return unfound

    def _finds(self, key: PassageKey, vector: Any) -> bool:
        """Whether a search with the passage's vector gives it, or only others as near."""
        found = self._objects.ask(
            lambda: self._objects.collection.query.near_vector(
                vector,
                target_vector=schema.VECTOR,
                limit=5,
                return_properties=[],
                return_metadata=MetadataQuery(distance=True),
            )
        ).objects
        if any(one.uuid == key.identity for one in found):
            return True
        return bool(found) and all(one.metadata.distance < SAME_DISTANCE for one in found)

    def _finds_words(self, key: PassageKey, one: Any) -> bool:
        words = self._words(" ".join(str(one.properties["text"]).split()[:20]))
        if self._objects.bm25_property != schema.WORDS or not words.strip():
            return True  # Weaviate's own words: which it leaves out is its own affair
        found = self._objects.ask(
            lambda: self._objects.collection.query.bm25(
                words,
                query_properties=[schema.WORDS],
                filters=Filter.by_id().equal(key.identity),
                limit=1,
                return_properties=[],
            )
        ).objects
        return bool(found)

    def _count_faults(self, documents: Mapping[str, Passages]) -> list[Fault]:
        """Where Weaviate's own count, by its index of properties, is not what is there."""
        passages = sum(map(len, documents.values()))
        counted = self._objects.count(Filter.by_property("passage_index").greater_or_equal(0))
        if counted == passages:
            return []
        reason = f"Weaviate counts {counted:,} passages, but {passages:,} are there"
        if counted > passages:  # a full disk can leave numbers of objects that never came to be
            reason += (
                ": all of these are searched, only its counts are wrong, and stay so until they "
                "are ingested into a class made anew (weaviate.collection)"
            )
        return [Fault(reason, abs(counted - passages))]


def _sample(documents: Mapping[str, Passages], size: int | None) -> list[PassageKey]:
    """The passages of so many documents, evenly spread; None: of all."""
    names = list(documents)
    if size is not None:
        names = names[:: max(1, len(names) // max(1, size))][:size]
    return [PassageKey(name, index) for name in names for index in documents[name]]


def _faults(
    documents: Mapping[str, Passages], lacking: set[PassageKey], unfound: set[PassageKey]
) -> list[Fault]:
    partial = [name for name, passages in documents.items() if whole(passages) is None]
    found = {
        "documents are not whole: ingest them again": partial,
        "passages are there, but not in the index of vectors or of properties": [
            key.document_id for key in sorted(lacking)
        ],
        "passages are not found by their own vector or words": [
            key.document_id for key in sorted(unfound)
        ],
    }
    return [
        Fault(reason, len(ids), tuple(sorted(set(ids)))[:IDS_SHOWN])
        for reason, ids in found.items()
        if ids
    ]
