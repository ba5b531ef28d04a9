"""Documents as objects of one class, one for each passage; and back, with what holds them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from weaviate.classes.aggregate import GroupByAggregate
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter

from search.errors import StoreUnavailable
from search.store import metadata_from_json
from search.store.sqlite.writing import is_encodable
from search.store.weaviate.errors import ask, translate_errors
from search.store.weaviate.metadata import metadata_properties
from search.store.weaviate.schema import VECTOR, WORDS, object_id
from search.store.weaviate.server import Server
from search.store.words import indexed_words
from search.types import Candidate, Entry, Listed, Location, Source, passage_input

Object = DataObject[dict[str, Any], Any]

# The most objects that a server gives in one answer (QUERY_MAXIMUM_RESULTS), and so the most
# passages of one document: some two million words.
MAX_RESULTS = 10_000
# Index types that answer a filtered search by comparing each object that the filter lets through,
# and so name exactly those whose vectors they hold.
EXACT_INDEXES = ("hnsw", "flat", "dynamic")
_PAGE = 1000
_CANDIDATE = ["document_id", "passage_index", "title", "text", "metadata"]
_CANDIDATE_LATER = ["source_file", "source_line", "location"]
_VERSION = ["document_id", "passage_index", "passage_count", "content_hash"]
_VERSION_LATER = ["source_file", "source_line"]

T = TypeVar("T")


class Found(Protocol):
    """The part of the client's objects that is read here."""

    @property
    def properties(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of its document a passage belongs to."""

    content_hash: str
    passage_count: int
    source: Source | None = None


Passages = dict[int, Version]
"""The passages of one document that the server has, by index."""


class PassageKey(NamedTuple):
    """One passage: whose, and which."""

    document_id: str
    passage: int

    @property
    def identity(self) -> UUID:
        return object_id(self.document_id, self.passage)


class ListedPassage(NamedTuple):
    """A passage's document as a list shows it, and whether it is the document's first."""

    listed: Listed
    is_first: bool


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Runs of at most that many."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def whole(passages: Passages) -> Version | None:
    """The version of a document all of whose passages are there, of one version, else None."""
    versions = set(passages.values())
    if len(versions) != 1:
        return None
    (version,) = versions
    return version if set(passages) == set(range(version.passage_count)) else None


def objects_of(
    entry: Entry, vectors: Sequence[NDArray[np.float32]] | None, known: set[str]
) -> list[Object]:
    """One object for each passage, with the class's properties `known`; without `vectors` the
    server makes them.
    """
    document = entry.document
    shared = metadata_properties(document.metadata, known) | {
        "document_id": document.id,
        "passage_count": len(entry.passages),
        "content_hash": entry.content_hash,
        "title": document.title,
        "metadata": json.dumps(dict(document.metadata), ensure_ascii=False, allow_nan=False),
    }
    if document.source is not None:
        shared |= {"source_file": document.source.file, "source_line": document.source.line}
    objects = []
    for index, passage in enumerate(entry.passages):
        text = passage_input(document.title, passage.text)
        own: dict[str, Any] = {"passage_index": index, "text": text}
        if WORDS in known:
            own[WORDS] = indexed_words(f"{document.title}\n{text}")  # a title counts twice
        if passage.location is not None or passage.start is not None:
            place = asdict(passage.location or Location()) | {"start": passage.start}
            own["location"] = json.dumps(place)
        vector = None if vectors is None else {VECTOR: vectors[index].tolist()}
        identity = object_id(document.id, index)
        objects.append(DataObject(uuid=identity, properties=shared | own, vector=vector))
    return objects


def candidate_of(
    found: Found, score: float, rank: int, *, cosine: float | None = None, bm25: float | None = None
) -> Candidate:
    """A search's result in the project's words."""
    properties = found.properties
    title, text = properties["title"], properties["text"]
    place = {name: value for name, value in _place(properties).items() if name != "start"}
    return Candidate(
        document_id=properties["document_id"],
        passage_index=int(properties["passage_index"]),
        title=title,
        passage=text.removeprefix(passage_input(title, "")),
        score=score,
        rank=rank,
        metadata=metadata_from_json(properties["document_id"], properties["metadata"]),
        source=_source(properties),
        location=Location(**place) if any(value is not None for value in place.values()) else None,
        cosine=cosine,
        bm25=bm25,
    )


class Objects:
    """The objects of one class, or of one tenant in it: what is there, and how it goes.

    `properties` are the class's, as far as we know. Threads may share an instance.
    """

    def __init__(
        self, server: Server, collection: Any, dimensions: int, *, patient: bool = False
    ) -> None:
        """With `patient`, questions wait up to a minute for a server that has gone to come back."""
        self._server = server
        self._patient = patient
        self.collection = collection
        config = collection.config.get()
        self.replicated = bool(config.replication_config.factor > 1)
        self.properties = {known.name for known in config.properties}
        index = config.vector_config[VECTOR].vector_index_config
        exact = str(index.vector_index_type()) in EXACT_INDEXES
        cutoff = int(getattr(index, "flat_search_cutoff", MAX_RESULTS + 1))
        self._lists_indexed = exact and cutoff > MAX_RESULTS
        self.dimensions = dimensions
        self._any_vector = [1.0 / dimensions**0.5] * dimensions

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def bm25_property(self) -> str:
        """Where BM25 finds the words; a class made before has only Weaviate's own, of `text`."""
        return WORDS if WORDS in self.properties else "text"

    def ask(self, question: Callable[[], T]) -> T:
        """The answer, asked again where the next time may find it."""
        return ask(question, patient=self._patient, replicated=self.replicated)

    def candidate_properties(self) -> list[str]:
        """What a search brings back."""
        return _CANDIDATE + [name for name in _CANDIDATE_LATER if name in self.properties]

    def passages(
        self, document_ids: Iterable[str], *, indexed: bool = False
    ) -> dict[str, Passages]:
        """The passages that the server finds of these documents, by its index of properties.

        `indexed`: only those that its vector index holds as well, where that can be found out.
        """
        names = list(dict.fromkeys(filter(is_encodable, document_ids)))
        if not names:
            return {}
        found = self.ask(lambda: self._fetch(names, indexed and self._lists_indexed))
        if len(found) == MAX_RESULTS and len(names) > 1:
            middle = len(names) // 2
            return self.passages(names[:middle], indexed=indexed) | self.passages(
                names[middle:], indexed=indexed
            )
        passages: dict[str, Passages] = defaultdict(dict)
        for key, version in map(_version_of, found):
            passages[key.document_id][key.passage] = version
        # Weaviate compares without white space at the ends; ids are compared exactly.
        return {name: passages[name] for name in names if name in passages}

    def all(self) -> Iterator[tuple[PassageKey, Version]]:
        """Every passage that is there, whatever the indexes say of it, streamed."""
        return map(_version_of, self._iterate(self._version()))

    def listed(self) -> Iterator[ListedPassage]:
        """Every passage with what a list shows of its document, streamed."""
        for one in self._iterate([*self._version(), "title"]):
            key, version = _version_of(one)
            listed = Listed(
                key.document_id, one.properties["title"], version.source, version.passage_count
            )
            yield ListedPassage(listed, key.passage == 0)

    def document(self, document_id: str) -> list[tuple[Candidate, int | None]]:
        """The passages of one document that the server finds, in their order, and where each begins
        in the document's text.
        """
        if not is_encodable(document_id):
            return []
        found = self.ask(
            lambda: self.collection.query.fetch_objects(
                filters=Filter.by_property("document_id").equal(document_id),
                limit=MAX_RESULTS,
                return_properties=self.candidate_properties(),
            )
        ).objects
        passages = (
            (candidate_of(one, 0.0, 0), _place(one.properties).get("start")) for one in found
        )
        own = (one for one in passages if one[0].document_id == document_id)
        return sorted(own, key=lambda one: one[0].passage_index)

    def values(self, name: str) -> list[str]:
        """The different values of a text property."""
        groups = GroupByAggregate(prop=name, limit=MAX_RESULTS)
        found = self.ask(lambda: self.collection.aggregate.over_all(group_by=groups))
        return [str(one.grouped_by.value) for one in found.groups]

    def vectors(self) -> Iterator[tuple[PassageKey, Any]]:
        """Every passage with its vector, streamed."""
        for one in self._iterate(self._version(), include_vector=True):
            yield _version_of(one)[0], one.vector.get(VECTOR)

    def has(self, key: PassageKey, content_hash: str) -> bool:
        """Whether this passage is there in this version; asked by id, with the consistency set."""
        found = self.ask(lambda: self.collection.query.fetch_object_by_id(key.identity))
        return found is not None and str(found.properties["content_hash"]) == content_hash

    def with_vectors(self, keys: Sequence[PassageKey]) -> dict[PassageKey, Any]:
        """The objects of these passages as they are stored, asked by id."""
        by_id = self.collection.query.fetch_object_by_id
        found = {}
        for key in keys:
            one = self.ask(partial(by_id, key.identity, include_vector=True))
            if one is not None:
                found[key] = one
        return found

    def remove(self, keys: Iterable[PassageKey]) -> None:
        """Delete these passages. Raises StoreUnavailable when some stay."""
        for part in batched([key.identity for key in keys], _PAGE):
            # It could say why, but with `verbose` 1.39.0 fails itself when a deletion fails.
            done = self._delete(part)
            if done.failed:
                raise StoreUnavailable(
                    f"Weaviate at {self.url} did not delete {done.failed} passages: it is "
                    "read-only, its disk being full, or lacks replicas; see its log, then run the "
                    "same command again"
                )
            if done.matches < len(part):
                self.remove_each(part)

    def remove_each(self, identities: Iterable[UUID]) -> None:
        """Delete by id: it goes past the index of properties, which a crash may have torn."""
        for identity in identities:
            self.collection.data.delete_by_id(identity)  # True where it was there

    def flush(self, keys: Sequence[PassageKey]) -> None:
        """Have the server write to disk what it holds in memory of its indexes of these passages.

        A batch leaves the tail of the vector index's log in memory, where a crash loses it. What
        writes it to disk is the end of any later operation on the shard: this one is a deletion
        that only counts.
        """
        for part in batched([key.identity for key in keys], _PAGE):
            self._delete(part, dry_run=True)

    def refresh_properties(self) -> None:
        """Read them again: another process may have added some."""
        self.properties = {known.name for known in self.collection.config.get().properties}

    def count(self, filters: Any) -> int:
        """Objects that the filter lets through."""
        over_all = self.collection.aggregate.over_all
        return self.ask(lambda: over_all(filters=filters)).total_count or 0

    def _delete(self, identities: Sequence[UUID], *, dry_run: bool = False) -> Any:
        where = Filter.by_id().contains_any(identities)
        return self.ask(lambda: self.collection.data.delete_many(where=where, dry_run=dry_run))

    def _iterate(self, properties: list[str], *, include_vector: bool = False) -> Iterator[Any]:
        objects = iter(
            self.collection.iterator(
                return_properties=properties, include_vector=include_vector, cache_size=_PAGE
            )
        )
        while True:
            with translate_errors(self.url):
                one = self.ask(lambda: next(objects, None))
            if one is None:
                return
            yield one

    def _fetch(self, names: list[str], indexed: bool) -> list[Any]:
        query = self.collection.query
        wanted = {
            "filters": Filter.by_property("document_id").contains_any(names),
            "limit": MAX_RESULTS,
            "return_properties": self._version(),
        }
        if indexed:
            found = query.near_vector(self._any_vector, target_vector=VECTOR, **wanted)
        else:
            found = query.fetch_objects(**wanted)
        return list(found.objects)

    def _version(self) -> list[str]:
        return _VERSION + [name for name in _VERSION_LATER if name in self.properties]


def _version_of(found: Found) -> tuple[PassageKey, Version]:
    properties = found.properties
    version = Version(
        properties["content_hash"], int(properties["passage_count"]), _source(properties)
    )
    return PassageKey(properties["document_id"], int(properties["passage_index"])), version


def _place(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Where a passage begins: the fields of its Location, and `start`, as far as they are known."""
    stored = properties.get("location")
    return json.loads(stored) if stored else {}


def _source(properties: Mapping[str, Any]) -> Source | None:
    file, line = properties.get("source_file"), properties.get("source_line")
    return None if file is None else Source(file, None if line is None else int(line))
