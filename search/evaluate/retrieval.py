"""The first stage under evaluation: the store's own, or both rankings within judged pools."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace

from config import Settings
from search.errors import InputError
from search.evaluate.data import Task
from search.evaluate.scoring import Retrieve
from search.store import Store
from search.store.fusion import relative_score_fusion
from search.store.sqlite import FUSION_DEPTH
from search.types import Candidate, RetrievalMode

HASH_PAGE = 1000

Key = tuple[str, int]
"""Document id and passage index."""

Found = dict[Key, Candidate]
"""What one ranking found, best first."""


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

    Each ranking runs over all `passages` of the store, then its scores are scaled within the pool.
    A passage that a ranking does not find (BM25: no word in common) has 0 from it, and comes last.
    """
    vector = _ranking(store, query, pool, passages, "near_text")  # exact: all of the pool
    words = _ranking(store, query, pool, passages, "bm25") if mode != "near_text" else {}
    cosines = {key: c.score for key, c in vector.items()}
    bm25 = {key: words[key].score if key in words else 0.0 for key in vector}
    if mode == "near_text":
        scores = cosines
    elif mode == "bm25":
        unfound = sorted(vector.keys() - words.keys())
        scores = {key: bm25[key] for key in [*words, *unfound]}
    else:
        scores = _fused(vector, words, alpha)
    return [
        replace(
            vector[key],
            score=score,
            rank=rank,
            cosine=None if mode == "bm25" else cosines[key],
            bm25=None if mode == "near_text" else bm25[key],
            fused=score if mode == "hybrid" else None,
        )
        for rank, (key, score) in enumerate(scores.items(), start=1)
    ]


def check_depth(deepest: int, settings: Settings) -> None:
    """Deeper than the store's fusion looks, a shallower K would not be a cut of the deepest one."""
    if settings.retrieval == "hybrid" and deepest > FUSION_DEPTH:
        raise InputError(
            f"{deepest} candidates a query: hybrid retrieval fuses the top {FUSION_DEPTH} of each "
            "ranking, and a deeper K would change the shallower ones; use at most "
            f"{FUSION_DEPTH} (--k, or the setting candidates), or the setting retrieval: near_text"
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


def count_judged(task: Task, store: Store) -> tuple[int, int]:
    """(documents that are judged for the task's queries, how many of them the store lacks)"""
    judged = sorted({document_id for grades in task.qrels.values() for document_id in grades})
    pages = (judged[start : start + HASH_PAGE] for start in range(0, len(judged), HASH_PAGE))
    return len(judged), len(judged) - sum(len(store.stored(page)) for page in pages)


def _fused(vector: Found, words: Found, alpha: float) -> dict[Key, float]:
    """Relative score fusion, which knows passages by number: here their positions in `vector`."""
    keys = list(vector)
    number = {key: i for i, key in enumerate(keys)}
    fused = relative_score_fusion(
        {number[key]: c.score for key, c in vector.items()},
        {number[key]: c.score for key, c in words.items()},
        alpha,
    )
    return {keys[i]: score for i, score in fused.items()}


def _ranking(
    store: Store, query: str, pool: frozenset[str], passages: int, mode: RetrievalMode
) -> Found:
    """The pool's passages that this ranking finds."""
    found: Sequence[Candidate] = store.retrieve(query, passages, mode=mode)
    return {(c.document_id, c.passage_index): c for c in found if c.document_id in pool}
