"""What the routes share: settings, models, the store, and the searcher over both."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Self

from config import Settings
from search.searcher import Searcher
from search.serve.models import Models
from search.store import Store
from search.store.open import open_store


class Service:
    """Made before the port opens; any number of requests use it at once."""

    def __init__(self, settings: Settings, models: Models, open_store: Callable[[], Store]) -> None:
        """`open_store` is called when the store is first needed, and again while it fails."""
        self.settings = settings
        self.models = models
        self.metrics = models.metrics
        self._open_store = open_store
        self._opening = Lock()
        self._searcher: Searcher | None = None
        self.metrics.watch_store(lambda: self.searcher.store.describe())

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """The models that `settings` name, loaded and run once. Raises ModelError."""
        models = Models.load(settings)
        return cls(settings, models, lambda: open_store(settings, embedder=models.embedder))

    @property
    def searcher(self) -> Searcher:
        """The two stages over the store. Raises StoreError while that is away or not made yet."""
        with self._opening:
            if self._searcher is None:
                store = self._open_store()
                self._searcher = Searcher(store, self.models.provider, self.settings)
            return self._searcher

    def close(self) -> None:
        """Finish what waits, then release the models and the store."""
        self.models.close()
        if self._searcher is not None:
            self._searcher.close()
