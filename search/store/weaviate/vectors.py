"""Find or make the class, and settle who makes its vectors: our model, or the server's.

Whether both are the same model, one text decides: each embeds it, as a passage and as a query, and
the vectors are compared.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from weaviate.classes.data import DataObject
from weaviate.classes.query import MetadataQuery
from weaviate.exceptions import (
    UnexpectedStatusCodeError,
    WeaviateBaseError,
    WeaviateInsertManyAllFailedError,
)

from config import WeaviateSettings
from search.errors import ModelError, ModelMismatch, StoreError
from search.store import Embedder
from search.store.weaviate import schema
from search.store.weaviate.classes import definition_of, is_ours, missing, read_only
from search.store.weaviate.errors import server_fault, short, translate_errors
from search.store.weaviate.server import Server
from search.types import EmbeddingInfo

# Two precisions of one model differ by about 1e-4; two models are nowhere near.
SAME_MODEL = 0.999
# Long enough to show another pooling or shorter input, within 256 tokens of any common model.
TEXT = " ".join(f"Sentence {i} asks how people prevent heart disease." for i in range(1, 19))
QUERY = "how to prevent heart disease"  # short, so that a prefix shows
PROBE_SECONDS = 600
INDEXED_SECONDS = 30
_PROBE = "Probe of a two-stage search, made at "
DIFFERENCES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Comparison:
    """How near the server's vectors of TEXT and QUERY are to ours (cosine), and how long."""

    passage: float
    query: float
    dimensions: int


class Vectors:
    """Who embeds for one class: our model, or None where the server does it."""

    def __init__(
        self,
        server: Server,
        settings: WeaviateSettings,
        vectorizer: str,
        load_embedder: Callable[[], Embedder],
    ) -> None:
        self.vectorizer = vectorizer
        self._server = server
        self._settings = settings
        self._load_embedder = load_embedder

    @cached_property
    def described(self) -> schema.Description:
        """What the class says of the vectors in it. Raises StoreError when it is not as set."""
        return _checked_description(self._server, self._settings, self.vectorizer)

    @property
    def embedding(self) -> EmbeddingInfo:
        """The model that filled the class."""
        return self.described.embedding

    @cached_property
    def of_queries(self) -> Embedder | None:
        """Raises ModelMismatch when our model is not the one that filled the class."""
        if self._by_server and not self.described.our_queries:
            return None
        self._require(self._ours.info.can_read(self.embedding))
        return self._ours

    @cached_property
    def reader(self) -> Embedder | None:
        """Our model where it filled the class, whoever runs it; None where another one did."""
        if self.embedding.name == self.vectorizer:
            return None
        with suppress(ModelError):
            return self._ours if self._ours.info.can_read(self.embedding) else None
        return None

    @cached_property
    def of_passages(self) -> Embedder | None:
        """Settled when there is something to embed. Raises ModelMismatch."""
        if not self._by_server:
            return self.of_queries
        if self._settings.vectors == "server":
            return None
        same = self._is_same
        if self.embedding.name != self.vectorizer:
            # A run of our model filled the class, and the server's was the same then.
            self._require(not same or self._ours.info.can_read(self.embedding))
            self._require_unchanged_server(same)
        return self._ours if same else None

    def description(self) -> schema.Description:
        """For a class yet to be made."""
        if not self._by_server:
            return schema.Description(self._ours.info)
        if not self._is_same:
            return schema.Description(EmbeddingInfo(self.vectorizer, "", self._compared.dimensions))
        return schema.Description(self._ours.info, our_queries=not self._same_queries)

    @property
    def _by_server(self) -> bool:
        return self.vectorizer != schema.NO_VECTORIZER

    @cached_property
    def _ours(self) -> Embedder:
        return self._load_embedder()

    @property
    def _same_queries(self) -> bool:
        return self._compared.query >= SAME_MODEL

    @cached_property
    def _is_same(self) -> bool:
        """Raises ModelMismatch when our vectors are insisted on and differ from the server's."""
        found = self._compared
        if found.passage < SAME_MODEL and self._settings.vectors == "ours":
            raise ModelMismatch(
                f"weaviate.vectors is 'ours', but the {self.vectorizer} of the Weaviate at "
                f"{self._server.url} embeds unlike {self._ours.info.name!r} (cosine "
                f"{found.passage:.4f}, expected {SAME_MODEL}; {found.dimensions} and "
                f"{self._ours.info.dimensions} dimensions): give both the same model, or set "
                "weaviate.vectors to server"
            )
        return found.passage >= SAME_MODEL

    def _require_unchanged_server(self, same: bool) -> None:
        if not self._ours.info.can_read(self.embedding):
            return
        if not same:
            raise ModelMismatch(
                f"{self._name} was filled by the embedding model {self.embedding.name!r}, and the "
                f"server's {self.vectorizer} now embeds otherwise: give it that model back, or "
                "name another class in weaviate.collection"
            )
        if not (self._same_queries or self.described.our_queries):
            raise ModelMismatch(
                f"the server's {self.vectorizer} embeds queries to {self._name} unlike our model "
                f"(cosine {self._compared.query:.4f}, expected {SAME_MODEL}): give its service the "
                f"query prefix {self.embedding.query_prefix!r} too, or name another class in "
                "weaviate.collection, whose queries are then embedded here"
            )

    def _require(self, fits: bool) -> None:
        if fits:
            return
        ours, stored = asdict(self._ours.info), asdict(self.embedding)
        differing = [name for name in stored if stored[name] != ours[name]]
        filled = ", ".join(f"{name} {stored[name]!r}" for name in differing)
        present = ", ".join(f"{name} {ours[name]!r}" for name in differing)
        raise ModelMismatch(
            f"{self._name} was filled by an embedding model with {filled}; this run has {present}. "
            "Vectors of the two cannot be compared: set embedding_model (and its prefixes) back, "
            "or name another class in weaviate.collection"
        )

    @property
    def _name(self) -> str:
        return f"class {self._settings.collection} of the Weaviate at {self._server.url}"

    @cached_property
    def _compared(self) -> _Comparison:
        """Asked once, when first needed: it makes both the server and our model run."""
        return _compare(self._server, self._settings, self.vectorizer, self._ours)


def open_class(
    server: Server,
    settings: WeaviateSettings,
    load_embedder: Callable[[], Embedder],
    create: bool,
) -> Vectors:
    """Check the class that is there, or make it. Raises StoreMissing, ModelMismatch, StoreError."""
    there = definition_of(server, settings.collection)
    if there is None and not create:
        raise missing(server, settings.collection)
    if there is not None and not is_ours(there):
        raise read_only(server.url, settings.collection)
    vectors = Vectors(server, settings, _vectorizer(server, settings, there), load_embedder)
    if there is None:
        definition = schema.class_schema(settings, vectors.vectorizer, vectors.description())
        _make(server, definition | schema.reranking(server.modules()))
    if vectors.described and vectors.vectorizer == schema.NO_VECTORIZER:
        _ = vectors.of_queries  # a mismatch shows at once, and not at the first search
    return vectors


def _vectorizer(server: Server, settings: WeaviateSettings, there: Mapping[str, Any] | None) -> str:
    """The setting; `auto` is what the class has, or the best that the server offers a new one."""
    wanted = settings.vectorizer
    if wanted == "auto" and there is not None:
        return schema.vectorizer_of(there)
    if there is not None or wanted == schema.NO_VECTORIZER:
        return wanted
    modules = server.modules()
    if wanted == "auto":
        preferred = schema.PREFERRED_VECTORIZER
        return preferred if preferred in modules else schema.NO_VECTORIZER
    if wanted not in modules:
        raise StoreError(
            f"Weaviate at {server.url} lacks the module {wanted!r} that weaviate.vectorizer names; "
            f"add it to the server's ENABLE_MODULES. It has: {', '.join(sorted(modules)) or 'none'}"
        )
    return wanted


def _make(server: Server, definition: dict[str, Any]) -> None:
    try:
        server.client.collections.create_from_dict(definition)
    except UnexpectedStatusCodeError:
        # Another process may have made it since we looked; the check that follows decides.
        if not server.client.collections.exists(definition["class"]):
            raise


def _checked_description(
    server: Server, settings: WeaviateSettings, vectorizer: str
) -> schema.Description:
    """What the class's description says; StoreError when the class is foreign, or not as set."""
    config = server.client.collections.export_config(settings.collection)
    described = schema.description_of(config.description)
    if described is None:  # another made it since we looked
        raise read_only(server.url, settings.collection)
    found = config.to_dict()
    wrong = schema.differences(found, schema.class_schema(settings, vectorizer, None))
    if not wrong:
        return described
    shown, more = wrong[:DIFFERENCES_SHOWN], len(wrong) - DIFFERENCES_SHOWN
    error = StoreError(
        f"class {settings.collection} of the Weaviate at {server.url} is there, but is not as "
        f"set: {'; '.join(shown)}{f'; and {more} more' if more > 0 else ''}. It is left as it "
        "is: change these settings, or name another class in weaviate.collection"
    )
    for line in wrong:
        error.add_note(line)  # all of them, for whoever asks for details
    raise error


def _compare(
    server: Server, settings: WeaviateSettings, vectorizer: str, ours: Embedder
) -> _Comparison:
    """Through a class of its own, made and deleted, so that no passage of the user's is touched."""
    name = f"{settings.collection}_probe_{uuid.uuid4().hex[:8]}"
    plain = settings.model_copy(
        update={"collection": name, "tenant": None, "shards": None, "replication_factor": None}
    )
    definition = schema.class_schema(plain, vectorizer, None)
    definition["description"] = f"{_PROBE}{time.time():.0f}"
    if server.module_hangs():
        raise server.hung_module(vectorizer)
    with translate_errors(server.url):
        _remove_old_probes(server, settings.collection)
        server.client.collections.create_from_dict(definition)
        try:
            return _compare_in(server, name, vectorizer, ours)
        finally:
            with suppress(WeaviateBaseError):  # the server may be gone; the next probe removes it
                server.client.collections.delete(name)


def _remove_old_probes(server: Server, collection: str) -> None:
    """What a run that was killed while it probed left behind."""
    for name, known in server.client.collections.list_all().items():
        if not name.startswith(f"{collection}_probe_"):
            continue
        made = (known.description or "").removeprefix(_PROBE)
        if not made.isdecimal() or time.time() - int(made) > PROBE_SECONDS:
            server.client.collections.delete(name)


def _compare_in(server: Server, name: str, vectorizer: str, ours: Embedder) -> _Comparison:
    """One object embedded by the server, and one at our vector of the query, which near_text, as
    the server embeds it, is then asked for."""
    probe = server.client.collections.use(name)
    passage, query = uuid.uuid4(), uuid.uuid4()
    theirs = _inserted_vector(server, probe, passage, vectorizer)
    our_passage, our_query = ours.encode_passages([TEXT])[0], ours.encode_query(QUERY)
    if theirs.shape != our_passage.shape:
        return _Comparison(0.0, 0.0, theirs.size)
    vector = {schema.VECTOR: our_query.tolist()}
    probe.data.insert({"text": "query"}, uuid=query, vector=vector)
    lengths = np.linalg.norm(theirs) * np.linalg.norm(our_passage)
    similarity = float(theirs @ our_passage / lengths)
    return _Comparison(similarity, 1.0 - _distance(probe, query), theirs.size)


def _distance(probe: Any, query: uuid.UUID) -> float:
    """From the server's vector of QUERY to the object at ours."""
    deadline = time.monotonic() + INDEXED_SECONDS
    while time.monotonic() < deadline:  # with ASYNC_INDEXING it takes a moment
        found = probe.query.near_text(
            QUERY,
            limit=2,
            target_vector=schema.VECTOR,
            return_metadata=MetadataQuery(distance=True),
        )
        for one in found.objects:
            if one.uuid == query:
                return float(one.metadata.distance)
        time.sleep(0.1)
    raise StoreError(f"the Weaviate did not index its probe in {INDEXED_SECONDS} s: see its log")


def _inserted_vector(server: Server, probe: Any, identity: uuid.UUID, vectorizer: str) -> Any:
    """(dimensions,) The vector that the server gave TEXT."""
    one: DataObject[dict[str, Any], None] = DataObject({"text": TEXT}, uuid=identity)
    try:
        probe.data.insert_many([one])
    except WeaviateInsertManyAllFailedError as error:
        reason = short(error.message)
        raise server_fault(reason, server.url) or StoreError(
            f"the {vectorizer} of the Weaviate at {server.url} cannot embed: {reason}"
        ) from error
    found = probe.query.fetch_object_by_id(identity, include_vector=True)
    return np.asarray(found.vector[schema.VECTOR], dtype=np.float64)
