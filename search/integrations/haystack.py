"""Haystack: a retriever over a Searcher, and a ranker over a cross-encoder, which serialize.

Both may be shared by threads; `run_async` runs in a thread. A pipeline that is loaded from text has
to be allowed this module: `Pipeline.loads(text, allowed_modules=["search.integrations.haystack"])`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any

from config.settings import SECRETS
from search.errors import ConfigError, InputError, MissingExtra
from search.integrations import hit_metadata, passage_id, rerank, run_search
from search.rerank import CrossEncoder
from search.searcher import Searcher
from search.types import Condition, Operator, Scalar

try:
    from haystack import Document, component, default_from_dict, default_to_dict
except ModuleNotFoundError as error:
    raise MissingExtra(error.name or "haystack", "haystack", "the integration") from None

_OPERATORS: dict[str, Operator] = {
    "==": "=",
    "!=": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}


@component
class TwoStageRetriever:
    """The documents that answer a query, best first, each as its best passage.

    `settings` are what `Searcher.open` takes, such as `{"store": "notes.db"}`; `search_kwargs` what
    `Searcher.search` does. `top_k` is how many (None: as the settings say). What is given to `run`
    wins over all of these. `close()` releases the store.
    """

    def __init__(
        self,
        settings: dict[str, Any] | None = None,
        top_k: int | None = None,
        filters: dict[str, Any] | None = None,
        search_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """`filters` are Haystack's, for every run that brings none of its own."""
        self.settings = _without_secrets(settings or {})
        self.top_k = top_k
        self.filters = filters
        self.search_kwargs = search_kwargs or {}
        self._lock = Lock()
        self._searcher: Searcher | None = None

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(
            self,
            settings=self.settings,
            top_k=self.top_k,
            filters=self.filters,
            search_kwargs=self.search_kwargs,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TwoStageRetriever:
        """Raises haystack's DeserializationError where `data` is of another component."""
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        """Open the store and begin to load the reranker. Raises what `Searcher.open` raises."""
        self._open().warm_up()

    def close(self) -> None:
        """Release the store; a later run opens it again."""
        with self._lock:
            searcher, self._searcher = self._searcher, None
        if searcher is not None:
            searcher.close()

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """The documents; `filters` and `top_k` of None are those given to the component."""
        arguments = {
            "limit": self.top_k,
            "filters": conditions(self.filters),
            **self.search_kwargs,
        }
        if top_k is not None:
            arguments["limit"] = top_k
        if filters is not None:
            arguments["filters"] = conditions(filters)
        ranking = run_search(self._open(), query, arguments)
        documents = [
            Document(
                id=passage_id(hit),
                content=hit.passage,
                meta=hit_metadata(ranking, hit),
                score=hit.score,
            )
            for hit in ranking.hits
        ]
        return {"documents": documents}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """As `run`, in a thread."""
        return await asyncio.to_thread(self.run, query, filters, top_k)

    def _open(self) -> Searcher:
        with self._lock:
            if self._searcher is None:
                self._searcher = Searcher.open(**self.settings)
            return self._searcher


@component
class CrossEncoderRanker:
    """The documents of any retriever in the order of a cross-encoder, the best `top_k` of them.

    `model` is "bundled", a folder or a hub name; `encoder_kwargs` are further arguments of
    `CrossEncoder`, such as `device`. The title, read above the text, is `meta[title_field]`; None:
    there is none.
    """

    def __init__(
        self,
        model: str = "bundled",
        top_k: int | None = None,
        title_field: str | None = "title",
        encoder_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.top_k = top_k
        self.title_field = title_field
        self.encoder_kwargs = encoder_kwargs or {}
        self._lock = Lock()
        self._encoder: CrossEncoder | None = None

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(
            self,
            model=self.model,
            top_k=self.top_k,
            title_field=self.title_field,
            encoder_kwargs=self.encoder_kwargs,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CrossEncoderRanker:
        """Raises haystack's DeserializationError where `data` is of another component."""
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        """Load the model. Raises CheckpointError, ConfigError, MissingExtra."""
        self._load()

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Copies of the documents, best first; in their order as given where the model fails."""
        texts = [(self._title(document), document.content or "") for document in documents]
        limit = self.top_k if top_k is None else top_k
        ranked = rerank(self._load(), query, texts, limit)
        return {"documents": [_reranked(documents[i], meta) for i, meta in ranked]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """As `run`, in a thread."""
        return await asyncio.to_thread(self.run, query, documents, top_k)

    def _load(self) -> CrossEncoder:
        with self._lock:
            if self._encoder is None:
                self._encoder = CrossEncoder(self.model, **self.encoder_kwargs)
            return self._encoder

    def _title(self, document: Document) -> str:
        return str(document.meta.get(self.title_field or "") or "")


def conditions(filters: dict[str, Any] | None) -> tuple[Condition, ...]:
    """Haystack's filters as far as a store has them: comparisons joined by AND.

    Raises InputError for anything else. Unlike Haystack's, `!=` needs the field to be there.
    """
    return tuple(_conditions(filters)) if filters else ()


def _conditions(filters: object) -> Iterator[Condition]:
    match filters:
        case {"operator": "AND", "conditions": [*joined]}:
            for below in joined:
                yield from _conditions(below)
        case {"operator": str(operator), "field": str(field), "value": value} if (
            operator in _OPERATORS and isinstance(value, Scalar)
        ):
            yield Condition(field.removeprefix("meta."), _OPERATORS[operator], value)
        case _:
            raise InputError(
                f"the filter {filters!r} cannot be used: expected a comparison of one field by "
                f"{' '.join(_OPERATORS)} with a text, number or boolean, or such joined by AND"
            )


def _reranked(document: Document, meta: dict[str, Any]) -> Document:
    score = meta["probability"]
    meta = {**document.meta, **meta}
    return replace(document, meta=meta, score=document.score if score is None else score)


def _without_secrets(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, unless they would write a secret into every file that a pipeline is saved to.

    Raises ConfigError.
    """
    for secret in SECRETS:
        section, _, name = secret.partition(".")
        if secret in settings or name in (settings.get(section) or {}):
            raise ConfigError(
                f"found {secret!r} among the settings of a component, which are saved with its "
                "pipeline; expected it in the environment, such as WEAVIATE_API_KEY"
            )
    return dict(settings)
