"""Whether the server's vectorizer is our model: both embed one text, and the vectors decide."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weaviate import WeaviateClient
from weaviate.classes.data import DataObject
from weaviate.exceptions import WeaviateInsertManyAllFailedError

from config import WeaviateSettings
from search.errors import ModelMismatch, StoreError
from search.store import Embedder
from search.store.weaviate import schema
from search.store.weaviate.faults import blamed_on_server, short, translate_errors
from search.types import EmbeddingInfo

# Two precisions of one model differ by about 1e-4; two models are nowhere near.
SAME_MODEL = 0.999
# Long enough to show another pooling or shorter input, within 256 tokens of any common model.
TEXT = " ".join(f"Sentence {i} asks how people prevent heart disease." for i in range(1, 19))


@dataclass
class Probe:
    """Asks once, when first needed: it makes both the server and our model run.

    Through a class of its own, made and deleted, so that no passage of the user's is touched.
    """

    client: WeaviateClient
    place: str
    settings: WeaviateSettings
    vectorizer: str
    load_embedder: Callable[[], Embedder]

    @cached_property
    def ours(self) -> Embedder:
        return self.load_embedder()

    @cached_property
    def same(self) -> bool:
        """Raises ModelMismatch when our vectors are insisted on and differ from the server's."""
        ours, theirs = self.ours.encode_passages([TEXT])[0], self._theirs
        similarity = 0.0
        if theirs.shape == ours.shape:
            similarity = float(theirs @ ours / np.linalg.norm(theirs) / np.linalg.norm(ours))
        if similarity < SAME_MODEL and self.settings.vectors == "ours":
            raise ModelMismatch(
                f"weaviate.vectors is 'ours', but the {self.vectorizer} of the Weaviate at "
                f"{self.place} embeds unlike {self.ours.info.name!r} (cosine {similarity:.4f}, "
                f"expected {SAME_MODEL}; {theirs.size} and {ours.size} dimensions): give both "
                "the same model, or set weaviate.vectors to server"
            )
        return similarity >= SAME_MODEL

    @property
    def embedding(self) -> EmbeddingInfo:
        """What to call the server's model: ours by its name, another by its module."""
        if self.same:
            return self.ours.info
        return EmbeddingInfo(self.vectorizer, "", self._theirs.size)

    @cached_property
    def _theirs(self) -> NDArray[np.float64]:
        """(dimensions,) The server's vector of TEXT."""
        name = f"{self.settings.collection}_probe_{uuid.uuid4().hex[:8]}"
        plain = self.settings.model_copy(
            update={"collection": name, "tenant": None, "shards": None, "replication_factor": None}
        )
        with translate_errors(self.place):
            definition = schema.class_schema(plain, self.vectorizer, None)
            self.client.collections.create_from_dict(definition)
            try:
                return self._embedded_in(name)
            finally:
                self.client.collections.delete(name)

    def _embedded_in(self, name: str) -> NDArray[np.float64]:
        probe = self.client.collections.use(name)
        identity = uuid.uuid4()
        one: DataObject[dict[str, Any], None] = DataObject({"text": TEXT}, uuid=identity)
        try:
            probe.data.insert_many([one])
        except WeaviateInsertManyAllFailedError as error:
            reason = short(error.message)
            raise blamed_on_server(reason, self.place) or StoreError(
                f"the {self.vectorizer} of the Weaviate at {self.place} cannot embed: {reason}"
            ) from error
        found = probe.query.fetch_object_by_id(identity, include_vector=True)
        return np.asarray(found.vector[schema.VECTOR], dtype=np.float64)
