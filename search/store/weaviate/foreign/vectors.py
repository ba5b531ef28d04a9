"""The vectors of a class that others made: which are searched, and who embeds a query for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from search.errors import ConfigError, ModelError, StoreError
from search.store import Embedder
from search.store.weaviate.foreign.layout import Layout
from search.store.weaviate.schema import NO_VECTORIZER
from search.types import passage_input

# Modules that embed a text; the others embed only pictures, or average what is referred to.
EMBED_TEXT = ("text2", "multi2")
SAMPLE = 25
COMPARED = 5
# Vectors of two models have nothing to do with each other; one model's, of a text that is put
# together otherwise than ours, are still near, of one object or another.
SAME_MODEL = 0.5
EMPTY = "it is empty"


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """One vector that each object has; `name` is None for a class's unnamed one.

    `sources` are the properties it is made from, where the class says so; `for_each_token`: there
    are several, one for each token.
    """

    name: str | None
    vectorizer: str
    distance: str
    sources: tuple[str, ...]
    for_each_token: bool
    indexed: bool

    @property
    def embeds_text(self) -> bool:
        """Whether the server embeds a query's text for it."""
        return self.vectorizer.startswith(EMBED_TEXT)

    @property
    def gives_cosines(self) -> bool:
        return self.distance == "cosine" and not self.for_each_token

    def score(self, distance: float) -> float:
        """Higher is better: the cosine where the distance is 1 - cosine, else the opposite."""
        return 1.0 - distance if self.gives_cosines else -distance

    def __str__(self) -> str:
        made = "given with the objects" if self.vectorizer == NO_VECTORIZER else self.vectorizer
        return f"{self.name or 'unnamed'} ({made}, {self.distance})"


def vectors_of(definition: Mapping[str, Any]) -> list[VectorSpace]:
    """All vectors that the objects of the class with this schema can have."""
    spaces = []
    if definition.get("vectorIndexType"):  # made the way it was before vectors had names
        module = definition.get("vectorizer") or NO_VECTORIZER
        settings = (definition.get("moduleConfig") or {}).get(module)
        spaces.append(_space(None, module, settings, definition.get("vectorIndexConfig")))
    for name, found in (definition.get("vectorConfig") or {}).items():
        module, settings = next(iter((found.get("vectorizer") or {NO_VECTORIZER: None}).items()))
        spaces.append(_space(name, module, settings, found.get("vectorIndexConfig")))
    return spaces


def choose(
    spaces: Sequence[VectorSpace], wanted: str | None, layout: Layout, class_name: str
) -> VectorSpace | None:
    """The vector to search: the one that is `wanted`, or the obvious one; None: there is none.

    Obvious is an only one, one named `default` or not at all, the only one that the server embeds
    queries for, or the only one made from the text that is read. Raises ConfigError.
    """
    if wanted is not None:
        found = [space for space in spaces if space.name == wanted]
        problem = f"weaviate.vector_name is {wanted!r}, but class {class_name} has no such vector"
    else:
        found = _obvious(spaces, layout)
        problem = f"class {class_name} has several vectors, and none is the obvious one"
    if len(found) == 1:
        return found[0]
    if not spaces and wanted is None:
        return None
    known = "; ".join(map(_described, spaces)) or "none"
    raise ConfigError(f"{problem}: set weaviate.vector_name to one of them ({known})")


class NoVectorsError(StoreError):
    """The class has no vectors that a query can be compared with, and why."""

    def __init__(self, class_name: str, reason: str) -> None:
        super().__init__(f"class {class_name} cannot be searched by vectors: {reason}")
        self.reason = reason


class Queries:
    """How a query becomes a vector of the class. Threads may share an instance."""

    def __init__(
        self,
        definition: Mapping[str, Any],
        layout: Layout,
        wanted: str | None,
        collection: Any,
        load_embedder: Callable[[], Embedder],
    ) -> None:
        """`wanted` is the name of the vector to search, where a user gave one."""
        self._class_name = str(definition["class"])
        self._spaces = vectors_of(definition)
        self._wanted = wanted
        self._layout = layout
        self._collection = collection
        self._load_embedder = load_embedder
        self._lock = Lock()
        self._settled: Embedder | str | None = None

    @cached_property
    def space(self) -> VectorSpace:
        """The vector that is searched. Raises NoVectorsError; ConfigError where it is not clear."""
        found = choose(self._spaces, self._wanted, self._layout, self._class_name)
        if found is None:
            raise self._none("it has none")
        return found

    def embedder(self) -> Embedder | None:
        """Our model where it is to embed, None where the server does.

        A class without a vectorizer is asked for some objects; once, as soon as it has any. Raises
        NoVectorsError and ConfigError.
        """
        space = self.space
        if not space.indexed:
            raise self._none(f"its vector {space} has no index")
        if space.embeds_text:
            return None
        if space.vectorizer != NO_VECTORIZER:
            raise self._none(f"its {space.vectorizer} embeds no text")
        with self._lock:
            if self._settled is None:
                try:
                    self._settled = self._ours(space)
                except NoVectorsError as none:
                    if none.reason == EMPTY:
                        raise
                    self._settled = none.reason
        if isinstance(self._settled, str):
            raise self._none(self._settled)
        return self._settled

    def _ours(self, space: VectorSpace) -> Embedder:
        found = self._collection.query.fetch_objects(
            limit=SAMPLE,
            include_vector=True if space.name is None else [space.name],
            return_properties=self._layout.read_as_text,
        ).objects
        if not found:
            raise self._none(EMPTY)
        given = [(one, one.vector.get(space.name or "default")) for one in found]
        given = [(one, vector) for one, vector in given if vector]
        if not given:
            raise self._none(f"its objects have no vector {space.name or ''}".rstrip())
        if isinstance(given[0][1][0], list):
            raise self._none(
                f"its vector {space} is one for each token, which our model does not make"
            )
        try:
            return self._compared(given[:COMPARED])
        except ModelError as error:
            raise self._none(f"no module of the server makes them, and {error}") from error

    def _compared(self, given: Sequence[tuple[Any, Any]]) -> Embedder:
        """Our model, if it made these objects' vectors. Raises NoVectorsError, ModelError."""
        ours = self._load_embedder()
        name, dimensions = ours.info.name, ours.info.dimensions
        theirs = len(given[0][1])
        if theirs != dimensions:
            raise self._none(
                f"its vectors have {theirs} dimensions, and those of our embedding model "
                f"{name!r} {dimensions}: set embedding_model to the one that made them"
            )
        likeness = max(self._likeness(ours, one, vector) for one, vector in given)
        if likeness < SAME_MODEL:
            raise self._none(
                f"its vectors have {theirs} dimensions, as those of our embedding model {name!r}, "
                f"but are another model's (cosine {likeness:.2f} between theirs and ours of the "
                "same texts): set embedding_model to the one that made them"
            )
        return ours

    def _none(self, reason: str) -> NoVectorsError:
        return NoVectorsError(self._class_name, reason)

    def _likeness(self, ours: Embedder, one: Any, vector: Sequence[float]) -> float:
        """The cosine of an object's vector with ours, of whichever part of it is nearest."""
        title, text = self._layout.title_of(one.properties), self._layout.text_of(one.properties)
        texts = list(dict.fromkeys(filter(None, (passage_input(title, text), text, title))))
        if not texts:
            return 0.0
        theirs = np.asarray(vector, dtype=np.float32)
        length = float(np.linalg.norm(theirs)) or 1.0
        return float((ours.encode_passages(texts) @ theirs).max() / length)


def _space(
    name: str | None, module: str, settings: Mapping[str, Any] | None, index: Any
) -> VectorSpace:
    index = index or {}
    return VectorSpace(
        name=name,
        vectorizer=module,
        distance=index.get("distance") or "cosine",
        sources=tuple((settings or {}).get("properties") or ()),
        for_each_token=bool((index.get("multivector") or {}).get("enabled")),
        indexed=not index.get("skip"),
    )


def _obvious(spaces: Sequence[VectorSpace], layout: Layout) -> list[VectorSpace]:
    rules = (
        lambda space: True,
        lambda space: space.name in (None, "default"),
        lambda space: space.embeds_text,
        lambda space: not space.sources or set(space.sources) & {*layout.text},
    )
    left = list(spaces)
    for rule in rules:
        found = [space for space in left if rule(space)]
        if len(found) == 1:
            return found
        left = found or left
    return left


def _described(space: VectorSpace) -> str:
    made_from = f" from {'+'.join(space.sources)}" if space.sources else ""
    return f"{space}{made_from}"
