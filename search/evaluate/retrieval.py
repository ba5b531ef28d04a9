"""The first stage under evaluation: the store's own, or its two legs restricted to judged pools."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace

from config import Settings
from search.errors import InputError
from search.evaluate.data import Task
from search.evaluate.scoring import Retrieve
from search.store import Store
from search.store.sqlite import FUSION_DEPTH
from search.store.sqlite.fusion import relative_score_fusion
from search.types import Candidate, RetrievalMode

HASH_PAGE = 1000

Leg = dict[tuple[str, int], Candidate]
"""(document id, passage index) → candidate, best first."""


def first_stage_of(task: Task, store: Store, settings: Settings, depth: int) -> Retrieve:
    """How this task's candidates are found, with the settings' retrieval mode and alpha."""
    if task.judged_pool:
        every = store.describe().passages
        return lambda query_id, query: retrieve_pool(
            store, query, task.pool(query_id), every, settings.retrieval, settings.alpha
        )
    return lambda query_id, query: store.retrieve(query, depth, mode=settings.retrieval)


def retrieve_pool(
    store: Store,
    query: str,
    pool: frozenset[str],
    passages: int,
    mode: RetrievalMode,
    alpha: float,
) -> list[Candidate]:
    """All passages of the pool's documents, as a search filtered to the pool would order them.

    Each leg runs over all `passages` of the store, then its scores are scaled within the pool; a
    passage that a leg does not find (BM25: no word in common) has 0 from it, and the lowest places.
    """
    vector = _leg(store, query, pool, passages, "near_text")  # exact: every passage of the pool
    words = _leg(store, query, pool, passages, "bm25") if mode != "near_text" else {}
    if mode == "near_text":
        ordered = [(c, c.score) for c in vector.values()]
    elif mode == "bm25":
        unfound = sorted(vector.keys() - words.keys())
        ordered = [(c, c.score) for c in words.values()]
        ordered += [(vector[place], 0.0) for place in unfound]
    else:
        ordered = _fused(vector, words, alpha)
    return [replace(c, score=s, rank=rank) for rank, (c, s) in enumerate(ordered, start=1)]


def check_depth(deepest: int, settings: Settings) -> None:
    """Deeper than the store's fusion looks, a shallower K would not be a cut of the deepest one."""
    if settings.retrieval == "hybrid" and deepest > FUSION_DEPTH:
        raise InputError(
            f"--k {deepest}: hybrid retrieval fuses the top {FUSION_DEPTH} of each leg; a deeper K "
            f"would change the shallower ones; use at most {FUSION_DEPTH}, or --retrieval near_text"
        )


def fingerprint(store: Store) -> dict[str, object]:
    """What the store's answers depend on: its documents' content hashes and its embedding model."""
    info = store.describe()
    digest = hashlib.sha256()
    ids = sorted(store.ids())
    for start in range(0, len(ids), HASH_PAGE):
        for document_id, held in sorted(store.stored(ids[start : start + HASH_PAGE]).items()):
            digest.update(f"{document_id}\0{held.content_hash}\n".encode())
    return {
        "kind": info.kind,
        "passages": info.passages,
        "embedding": asdict(info.embedding) if info.embedding else None,
        "content": digest.hexdigest(),
    }


def _fused(vector: Leg, words: Leg, alpha: float) -> list[tuple[Candidate, float]]:
    """Relative score fusion, which knows passages by number: here their places in `vector`."""
    places = list(vector)
    number = {place: i for i, place in enumerate(places)}
    fused = relative_score_fusion(
        {number[place]: c.score for place, c in vector.items()},
        {number[place]: c.score for place, c in words.items()},
        alpha,
    )
    return [(vector[places[i]], score) for i, score in fused.items()]


def _leg(store: Store, query: str, pool: frozenset[str], passages: int, mode: RetrievalMode) -> Leg:
    """The pool's passages that this leg finds."""
    found: Sequence[Candidate] = store.retrieve(query, passages, mode=mode)
    return {(c.document_id, c.passage_index): c for c in found if c.document_id in pool}
