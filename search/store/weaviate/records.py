"""The objects of one class, or of one tenant in it: what is there, and how it goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

from weaviate.classes.query import Filter
from weaviate.exceptions import WeaviateQueryError

from search.errors import StoreUnavailable
from search.store.sqlite.writing import is_encodable
from search.store.weaviate.faults import is_deadline, translate_errors
from search.store.weaviate.metadata import definition
from search.store.weaviate.passages import VERSION, Version, Versions, version_of

# The most objects that a server gives in one answer (QUERY_MAXIMUM_RESULTS), and so the most
# passages of one document: some two million words.
MAX_RESULTS = 10_000
_DELETED_AT_ONCE = 1000

T = TypeVar("T")


class Records:
    """Reads versions and removes passages. `properties` are the class's, as far as we know."""

    def __init__(self, collection: Any, place: str) -> None:
        self._collection = collection
        self._place = place
        config = collection.config.get()
        self._replicated = config.replication_config.factor > 1
        self.properties = {known.name for known in config.properties}

    def asked(self, question: Callable[[], T]) -> T:
        """The answer. For some seconds after a node died, Weaviate 1.39.0 still asks it and waits
        until the client gives up; asked again, it turns to a replica that lives.
        """
        try:
            return question()
        except WeaviateQueryError as error:
            if not (self._replicated and is_deadline(str(error))):
                raise
            return question()

    def stored(self, document_ids: Sequence[str]) -> dict[str, Versions]:
        """The passages that the server has of these documents."""
        names = list(dict.fromkeys(filter(is_encodable, document_ids)))
        if not names:
            return {}
        found = self.asked(
            lambda: self._collection.query.fetch_objects(
                filters=Filter.by_property("document_id").contains_any(names),
                limit=MAX_RESULTS,
                return_properties=VERSION,
            )
        ).objects
        if len(found) == MAX_RESULTS and len(names) > 1:
            middle = len(names) // 2
            return self.stored(names[:middle]) | self.stored(names[middle:])
        stored: dict[str, Versions] = defaultdict(dict)
        for name, index, version in map(version_of, found):
            stored[name][index] = version
        # Weaviate compares without white space at the ends; ids are compared exactly.
        return {name: stored[name] for name in names if name in stored}

    def all(self) -> Iterator[tuple[str, int, Version]]:
        """Document id, passage index and version of every passage, streamed."""
        passages = iter(self._collection.iterator(return_properties=VERSION))
        while True:
            with translate_errors(self._place):
                one = next(passages, None)
            if one is None:
                return
            yield version_of(one)

    def has(self, identity: UUID, content_hash: str) -> bool:
        """Whether this passage is there in this version; asked by id, with the consistency set."""
        found = self.asked(lambda: self._collection.query.fetch_object_by_id(identity))
        return found is not None and found.properties["content_hash"] == content_hash

    def remove(self, identities: Iterable[UUID]) -> None:
        """Delete these passages. Raises StoreUnavailable when some stay."""
        waiting = list(identities)
        for start in range(0, len(waiting), _DELETED_AT_ONCE):
            part = waiting[start : start + _DELETED_AT_ONCE]
            # It could say why, but with `verbose` 1.39.0 fails itself when a deletion fails.
            done = self._collection.data.delete_many(where=Filter.by_id().contains_any(part))
            if done.failed:
                raise StoreUnavailable(
                    f"Weaviate at {self._place} did not delete {done.failed} passages: it is "
                    "read-only, its disk being full, or lacks replicas; see its log, then run the "
                    "same command again"
                )

    def add_properties(self, names: set[str]) -> None:
        """Make the metadata properties that the class lacks."""
        for name in sorted(names - self.properties):
            if name not in self._read_properties():
                self._collection.config.add_property(definition(name))
            self.properties.add(name)

    def refresh_properties(self) -> None:
        """Read them again."""
        self.properties = self._read_properties()

    def _read_properties(self) -> set[str]:
        return {known.name for known in self._collection.config.get().properties}
