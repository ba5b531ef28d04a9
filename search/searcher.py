"""What a user of the library holds: one store, one reranker, and what may differ per query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cached_property
from types import TracebackType
from typing import Final, Self

import config
from config import Settings
from search.errors import InputError
from search.rerank.provider import RerankerProvider
from search.stages import Search
from search.store import Store
from search.types import Condition, Ranking, RetrievalMode, StoreInfo


class Unset(Enum):
    """Stands for "as the settings say" where None is a value of its own."""

    UNSET = "as the settings say"


UNSET: Final = Unset.UNSET


class Searcher:
    """Answers queries from one store. Threads may share it: the models are loaded once.

    The reranker is loaded by the first query that needs it, while the store is searched.
    """

    def __init__(self, store: Store, reranker: RerankerProvider, settings: Settings) -> None:
        """`settings` are what each search does unless it is asked for something else."""
        self.store = store
        self.settings = settings
        self._reranker = reranker

    @classmethod
    def open(cls, *, environment: Mapping[str, str] | None = None, **settings: object) -> Self:
        """The store and models that the settings name, as the commands find them.

        Settings come from `search.yaml` here, from `environment` (None: the process's own) and from
        the arguments, such as `store="my.db"`; the last wins. Raises ConfigError, StoreError,
        ModelError.
        """
        if environment is None:
            environment = config.process_environment()
        return cls.from_settings(config.load(settings, environment))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The store and models that `settings` name. Raises StoreError, ModelError."""
        from search.store.open import open_store

        return cls(open_store(settings), RerankerProvider.of(settings), settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        # Ctrl-C means now: a model that is being loaded is not waited for.
        self.close(wait=kind is not KeyboardInterrupt)

    def close(self, wait: bool = True) -> None:
        """Release the store; `wait` for a model that is being loaded."""
        self.store.close()
        if wait:
            self._reranker.close()

    @cached_property
    def _described(self) -> StoreInfo:
        """What the store said of itself at the first search."""
        return self.store.describe()

    def warm_up(self) -> None:
        """Begin to load the reranker, if there is to be one; returns at once."""
        if self.settings.rerank:
            self._reranker.start()

    def search(
        self,
        query: str,
        *,
        filters: Sequence[Condition] = (),
        limit: int | None = None,
        candidates: int | None = None,
        retrieval: RetrievalMode | None = None,
        alpha: float | None = None,
        threshold: float | None = None,
        blend: float | Unset | None = UNSET,
        gate: float | Unset | None = UNSET,
        rerank: bool | None = None,
        deadline_ms: float | Unset | None = UNSET,
        highlight: bool | None = None,
    ) -> Ranking:
        """The documents that answer `query`, best first; the first stage's if reranking fails.

        The arguments are those of the settings of the same name, for this query only. Raises
        InputError for an empty query, ConfigError for a value out of bounds, StoreError when the
        store cannot be read.
        """
        query = query.strip()
        if not query:
            raise InputError("the query is empty: expected some words, for example a question")
        given = {
            "limit": limit,
            "candidates": candidates,
            "retrieval": retrieval,
            "alpha": alpha,
            "threshold": threshold,
            "rerank": rerank,
            "highlight": highlight,
        }
        changes: dict[str, object] = {name: v for name, v in given.items() if v is not None}
        changes |= {} if blend is UNSET else {"blend": blend}
        changes |= {} if gate is UNSET else {"gate": gate}
        changes |= {} if deadline_ms is UNSET else {"deadline_ms": deadline_ms}
        settings = config.change(self.settings, **changes)
        return Search(self.store, self._described, self._reranker, settings, query, filters).run()
