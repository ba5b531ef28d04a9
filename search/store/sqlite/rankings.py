"""The two rankings of a search, each exact and filtered before its top k, and the rows behind."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
_CANDIDATES = """
SELECT passages.key, documents.id, position, title, text, metadata,
source_file, source_line, line, page, heading
FROM passages JOIN documents ON documents.key = document
WHERE passages.key IN (SELECT value FROM json_each(?))
"""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; None where that ranking takes no part."""

    vector: NDArray[np.float32] | None  # (dimensions,)
    terms: Sequence[str] | None
    """Expressions of FTS5, of which a passage holds one at least."""
    filters: Sequence[Condition] = ()


class Scan:
    """Both rankings of one query, read from the file."""

    def __init__(self, connection: apsw.Connection, query: Query) -> None:
        self._connection = connection
        self._query = query

    def nearest(self, k: int) -> dict[int, float]:
        """Cosine similarity (-1 to 1) of the k nearest passages, best first."""
        query = self._query
        if query.vector is None:
            return {}
        passages, parameters = _passages(query.filters)
        only = f"WHERE passage IN {passages}" if query.filters else ""
        rows = self._connection.execute(
            _NEAREST.format(only=only), (_as_blob(query.vector), *parameters, k)
        )
        # sqlite-vec gives the cosine distance, 1 - similarity; inside the project higher is better.
        return {key: 1.0 - distance for key, distance in rows}

    def cosines_of(self, keys: Collection[int]) -> dict[int, float]:
        """Cosine similarity of these passages."""
        if self._query.vector is None or not keys:
            return {}
        parameters = (_as_blob(self._query.vector), json.dumps(list(keys)))
        rows = self._connection.execute(_COSINE_OF, parameters)
        return {key: 1.0 - distance for key, distance in rows}

    def bm25(self, k: int) -> dict[int, float]:
        """BM25 (k1 = 1.2, b = 0.75) of the k best passages that match, best first."""
        query = self._query
        if not query.terms:
            return {}
        passages, parameters = _passages(query.filters)
        only = f"AND +rowid IN {passages}" if query.filters else ""
        rows = self._connection.execute(
            _BM25.format(only=only),
            (TITLE_WEIGHT, TEXT_WEIGHT, _expression(query.terms), *parameters, k),
        )
        # FTS5 gives BM25 negated, so that an ascending sort puts the best first.
        return {key: -rank for key, rank in rows}

    def bm25_of(self, keys: Collection[int]) -> dict[int, float]:
        """BM25 of these passages; 0 for one that does not match."""
        terms = self._query.terms
        if terms is None:
            return {}
        scores = dict.fromkeys(keys, 0.0)
        if keys and terms:
            wanted = json.dumps(list(keys))
            parameters = (TITLE_WEIGHT, TEXT_WEIGHT, _expression(terms), wanted)
            scores |= {key: -rank for key, rank in self._connection.execute(_BM25_OF, parameters)}
        return scores


def candidates(
    connection: apsw.Connection,
    scores: Sequence[tuple[int, float]],
    cosine: Mapping[int, float],
    words: Mapping[int, float],
    fused: Mapping[int, float],
    store: Path,
) -> list[Candidate]:
    """The passages behind these keys, in the order given, with what each ranking says of them."""
    wanted = json.dumps([key for key, _ in scores])
    rows = {key: row for key, *row in connection.execute(_CANDIDATES, (wanted,))}
    return [
        Candidate(
            document_id=document_id,
            passage_index=position,
            title=title,
            passage=text,
            score=score,
            rank=rank,
            metadata=metadata_from_json(document_id, metadata, store),
            source=source_of(*origin[:2]),
            location=location_of(*origin[2:]),
            cosine=cosine.get(key),
            bm25=words.get(key),
            fused=fused.get(key),
        )
        for rank, (key, score) in enumerate(scores, start=1)
        if key in rows
        for document_id, position, title, text, metadata, *origin in [rows[key]]
    ]


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


def _expression(terms: Sequence[str]) -> str:
    return " OR ".join(terms)


def _as_blob(vector: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()
