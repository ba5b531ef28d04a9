"""The two legs of a search, each exact and filtered before its top k, and the rows they lead to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import apsw
import numpy as np
import numpy.typing as npt

from search.store.sqlite.filters import Parameter, where_sql
from search.store.sqlite.fts import TEXT_WEIGHT, TITLE_WEIGHT, match_expression
from search.types import Candidate, Condition, Value

# A plain table scanned by vec_distance_cosine, not sqlite-vec's own vec0 table: 1.7 times slower
# without a filter, 1.4 times faster with one (tests/benchmarks/store.md). What decides: plain rows
# leave with their passages by foreign key, and k has no limit.
_NEAREST = """
SELECT passage, vec_distance_cosine(embedding, ?) AS distance
FROM vectors {only} ORDER BY distance, passage LIMIT ?
"""
# The unary + keeps SQLite from running the MATCH once for every passage that the filter lets by.
_BM25 = """
SELECT rowid, bm25(words, ?, ?) AS rank
FROM words WHERE words MATCH ? {only} ORDER BY rank, rowid LIMIT ?
"""
_OF_THESE = "(SELECT value FROM json_each(?))"
_CANDIDATE = """
SELECT documents.id, position, title, text, metadata
FROM passages JOIN documents ON documents.key = document WHERE passages.key = ?
"""


def nearest(
    connection: apsw.Connection,
    query: npt.NDArray[np.float32],  # (dimensions,)
    k: int,
    filters: Sequence[Condition],
) -> dict[int, float]:
    """Cosine similarity (-1 to 1) of the k nearest passages, best first."""
    passages, parameters = _passages(filters)
    only = f"WHERE passage IN {passages}" if filters else ""
    rows = connection.execute(_NEAREST.format(only=only), (_as_blob(query), *parameters, k))
    # sqlite-vec gives the cosine distance, 1 - similarity; inside the project higher is better.
    return {key: 1.0 - distance for key, distance in rows}


def bm25(
    connection: apsw.Connection, query: str, k: int, filters: Sequence[Condition]
) -> dict[int, float]:
    """BM25 (k1 = 1.2, b = 0.75) of the k best passages that hold any word of the query."""
    expression = match_expression(query)
    if not expression:
        return {}
    passages, parameters = _passages(filters)
    only = f"AND +rowid IN {passages}" if filters else ""
    rows = connection.execute(
        _BM25.format(only=only), (TITLE_WEIGHT, TEXT_WEIGHT, expression, *parameters, k)
    )
    # FTS5 gives BM25 negated, so that an ascending sort puts the best first.
    return {key: -rank for key, rank in rows}


def cosines(
    connection: apsw.Connection,
    query: npt.NDArray[np.float32],  # (dimensions,)
    keys: Sequence[int],
) -> dict[int, float]:
    """Cosine similarity (-1 to 1) of each of these passages."""
    sql = _NEAREST.format(only=f"WHERE passage IN {_OF_THESE}")
    rows = connection.execute(sql, (_as_blob(query), json.dumps(keys), len(keys)))
    return {key: 1.0 - distance for key, distance in rows}


def bm25_scores(connection: apsw.Connection, query: str, keys: Sequence[int]) -> dict[int, float]:
    """BM25 of each of these passages; 0 for one that holds no word of the query."""
    scores = dict.fromkeys(keys, 0.0)
    expression = match_expression(query)
    if expression:
        sql = _BM25.format(only=f"AND +rowid IN {_OF_THESE}")
        parameters = (TITLE_WEIGHT, TEXT_WEIGHT, expression, json.dumps(keys), len(keys))
        scores |= {key: -rank for key, rank in connection.execute(sql, parameters)}
    return scores


def candidates(
    connection: apsw.Connection,
    scores: Mapping[int, float],
    cosines: Mapping[int, float],
    bm25: Mapping[int, float],
) -> list[Candidate]:
    """The passages behind the keys of `scores`, in that order."""
    found = []
    for rank, (key, score) in enumerate(scores.items(), start=1):
        for document_id, position, title, text, metadata in connection.execute(_CANDIDATE, (key,)):
            found.append(
                Candidate(
                    document_id,
                    position,
                    title,
                    text,
                    score,
                    rank,
                    _metadata(metadata),
                    cosine=cosines.get(key),
                    bm25=bm25.get(key),
                )
            )
    return found


def _passages(filters: Sequence[Condition]) -> tuple[str, list[Parameter]]:
    condition, parameters = where_sql(filters)
    return (
        "(SELECT passages.key FROM passages JOIN documents ON documents.key = document "
        f"WHERE {condition})",
        parameters,
    )


def _metadata(stored: str) -> dict[str, Value]:
    """A value is a scalar or a tuple of scalars; JSON knows tuples as lists."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(stored).items()
    }


def _as_blob(vector: npt.NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()
