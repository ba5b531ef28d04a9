"""What one command works with: settings, the model, and each task's scored pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from config import Settings
from search.embed import embedding_name
from search.errors import InputError
from search.evaluate import corpus, retrieval
from search.evaluate.data import Task
from search.evaluate.derive import Pipeline
from search.evaluate.progress import Shown
from search.evaluate.scoring import ScoreCache, ScoredQuery, run_pass
from search.rerank import Blend, CrossEncoder
from search.store import Store
from search.store.open import open_store

WHOLE_POOL = 1_000_000  # a depth that no judged pool reaches


@dataclass(frozen=True, slots=True)
class Pass:
    """A task with every candidate scored, and the depths that can be derived from it."""

    task: Task
    scored: list[ScoredQuery]
    ks: tuple[int, ...]


class Session:
    """Loads the model once; opens, reads and closes the store of each task."""

    def __init__(
        self,
        settings: Settings,
        cache: Path,
        ks: tuple[int, ...],
        shown: Shown,
        store_given: bool = False,
    ) -> None:
        """`store_given`: the settings' store holds the corpus already; nothing is ingested."""
        self.settings = settings
        self._cache = cache
        self._store_given = store_given
        self._ks = ks
        self._shown = shown

    @cached_property
    def model(self) -> CrossEncoder:
        return CrossEncoder.load(self.settings)

    def logits(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Raw logit of each (query, passage); of a long query, its beginning is read, as searches
        do."""
        readable = {query: self.model.readable(query) for query, _ in pairs}
        read = [(readable[query], text) for query, text in pairs]
        return [scored.logit for scored in self.model.score_pairs(read)]

    def run(self, task: Task, folder: Path | None) -> Pass:
        """Score the task, or read what was scored before.

        Searched is the corpus of this BEIR folder; None: the store that the settings name. Raises
        InputError where none of the judged documents is there.
        """
        depth = WHOLE_POOL if task.judged_pool else max(self._ks)
        if not task.judged_pool:
            retrieval.check_depth(depth, self.settings)
        store = open_store(self._store_settings(task, folder))
        try:
            self._check_judged(task, store, folder)
            identity = {
                "model": self.model.identity,
                "store": retrieval.fingerprint(store),
                "retrieval": self.settings.retrieval,
                "alpha": self.settings.alpha,
                "judged_pool": task.judged_pool,
            }
            cache = ScoreCache(self._cache / task.name, identity)
            retrieve = retrieval.first_stage_of(task, store, self.settings, depth)
            with self._shown.scoring(task.name) as progress:
                scored = run_pass(task, depth, retrieve, self.logits, cache, progress)
        finally:
            store.close()
        return Pass(task, scored, self._depths(task, scored))

    def pipeline(self, passed: Pass) -> Pipeline:
        """K, blend and gate of the settings; at most what was scored, and all of a judged pool."""
        deepest = passed.ks[-1]
        k = deepest if passed.task.judged_pool else min(self.settings.candidates, deepest)
        factor = 1.0 if self.settings.blend is None else self.settings.blend
        return Pipeline(k, factor, self.settings.gate)

    @property
    def embedding(self) -> str:
        """The embedding model's name, as stores and blends keep it."""
        return embedding_name(self.settings.embedding_model)

    @cached_property
    def blend(self) -> Blend:
        """The model's own, for the cosines of the embedding model in use, until one is fitted."""
        return self.model.blend.for_embedding(self.embedding)

    def use(self, pipeline: Pipeline) -> None:
        """Take over these settings for every report from here on."""
        self.settings = self.settings.model_copy(update=asdict(pipeline))

    def _store_settings(self, task: Task, folder: Path | None) -> Settings:
        if folder is None or self._store_given:
            return self.settings
        return corpus.prepare(folder, self._cache / task.name, self.settings, self._shown)

    def _check_judged(self, task: Task, store: Store, folder: Path | None) -> None:
        """Say how many of the judged documents are not there to be found."""
        judged, missing = retrieval.count_judged(task, store)
        if not missing:
            return
        given = folder is None or self._store_given
        place = f"the store {store.describe().location}" if given else f"the corpus of {folder}"
        if missing == judged:
            raise InputError(
                f"{task.name}: none of the {judged:,} judged documents is in {place}: "
                "is it the right one?"
            )
        self._shown.note(
            f"{task.name}: {missing:,} of the {judged:,} judged documents "
            f"({missing / judged:.1%}) are not in {place}"
        )

    def _depths(self, task: Task, scored: list[ScoredQuery]) -> tuple[int, ...]:
        deepest = max(len(s.scores) for s in scored) if task.judged_pool else max(self._ks)
        return (*(k for k in self._ks if k < deepest), max(1, deepest))
