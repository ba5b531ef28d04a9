"""The two rankings of a search, each exact and filtered before its top k, and the rows behind."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

import apsw
import numpy as np
from numpy.typing import NDArray

from search.store import metadata_from_json
from search.store.sqlite.expressions import TEXT_WEIGHT, TITLE_WEIGHT, Parameter, where_sql
from search.types import Candidate, Condition, Location, Source

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
_COSINE_OF = """
SELECT passage, vec_distance_cosine(embedding, ?) FROM vectors
WHERE passage IN (SELECT value FROM json_each(?))
"""
_BM25_OF = """
SELECT rowid, bm25(words, ?, ?) FROM words
WHERE words MATCH ? AND +rowid IN (SELECT value FROM json_each(?))
"""
_CANDIDATE = """
SELECT documents.id, position, title, text, metadata, source_file, source_line, line, page, heading
FROM passages JOIN documents ON documents.key = document WHERE passages.key = ?
"""


def nearest(
    connection: apsw.Connection,
    query: NDArray[np.float32],  # (dimensions,)
    k: int,
    filters: Sequence[Condition],
) -> dict[int, float]:
    """Cosine similarity (-1 to 1) of the k nearest passages, best first."""
    passages, parameters = _passages(filters)
    only = f"WHERE passage IN {passages}" if filters else ""
    rows = connection.execute(_NEAREST.format(only=only), (_as_blob(query), *parameters, k))
    # sqlite-vec gives the cosine distance, 1 - similarity; inside the project higher is better.
    return {key: 1.0 - distance for key, distance in rows}


def cosines_of(
    connection: apsw.Connection, query: NDArray[np.float32], keys: Collection[int]
) -> dict[int, float]:
    """Cosine similarity of these passages."""
    rows = connection.execute(_COSINE_OF, (_as_blob(query), json.dumps(list(keys))))
    return {key: 1.0 - distance for key, distance in rows} if keys else {}


def bm25(
    connection: apsw.Connection, expression: str, k: int, filters: Sequence[Condition]
) -> dict[int, float]:
    """BM25 (k1 = 1.2, b = 0.75) of the k best passages that match; none for an empty expression."""
    if not expression:
        return {}
    passages, parameters = _passages(filters)
    only = f"AND +rowid IN {passages}" if filters else ""
    rows = connection.execute(
        _BM25.format(only=only), (TITLE_WEIGHT, TEXT_WEIGHT, expression, *parameters, k)
    )
    # FTS5 gives BM25 negated, so that an ascending sort puts the best first.
    return {key: -rank for key, rank in rows}


def bm25_of(
    connection: apsw.Connection, expression: str, keys: Collection[int]
) -> dict[int, float]:
    """BM25 of these passages; 0 for one that does not match."""
    scores = dict.fromkeys(keys, 0.0)
    if keys and expression:
        parameters = (TITLE_WEIGHT, TEXT_WEIGHT, expression, json.dumps(list(keys)))
        scores |= {key: -rank for key, rank in connection.execute(_BM25_OF, parameters)}
    return scores


def candidates(
    connection: apsw.Connection,
    scores: Sequence[tuple[int, float]],
    cosine: Mapping[int, float],
    words: Mapping[int, float],
    fused: Mapping[int, float],
) -> list[Candidate]:
    """The passages behind these keys, in the order given, with what each ranking says of them."""
    found = []
    for rank, (key, score) in enumerate(scores, start=1):
        for document_id, position, title, text, metadata, *origin in connection.execute(
            _CANDIDATE, (key,)
        ):
            candidate = Candidate(
                document_id=document_id,
                passage_index=position,
                title=title,
                passage=text,
                score=score,
                rank=rank,
                metadata=metadata_from_json(document_id, metadata),
                source=source_of(*origin[:2]),
                location=location_of(*origin[2:]),
                cosine=cosine.get(key),
                bm25=words.get(key),
                fused=fused.get(key),
            )
            found.append(candidate)
    return found


def source_of(file: str | None, line: int | None) -> Source | None:
    return None if file is None else Source(file, line)


def location_of(line: int | None, page: int | None, heading: str | None) -> Location | None:
    known = any(part is not None for part in (line, page, heading))
    return Location(line, page, heading) if known else None


def _passages(filters: Sequence[Condition]) -> tuple[str, list[Parameter]]:
    condition, parameters = where_sql(filters)
    return (
        "(SELECT passages.key FROM passages JOIN documents ON documents.key = document "
        f"WHERE {condition})",
        parameters,
    )


def _as_blob(vector: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()
