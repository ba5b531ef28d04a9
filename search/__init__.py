"""Two-stage semantic search: a store finds candidates, a cross-encoder gives the final order.

>>> from search import Searcher
>>> with Searcher.open(store="notes.db") as searcher:
...     for hit in searcher.search("how to prevent heart disease", limit=1).hits:
...         print(hit.rank, hit.title)
1 Preventing heart disease

The names below are the public ones; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.answer import as_json
    from search.errors import SearchError
    from search.filters import parse_filters
    from search.rerank import CrossEncoder, Ranked
    from search.searcher import Searcher
    from search.types import Candidate, Condition, Hit, Location, PassageHit, Ranking, Source

_HOMES = {
    "as_json": "search.answer",
    "SearchError": "search.errors",
    "parse_filters": "search.filters",
    "CrossEncoder": "search.rerank",
    "Ranked": "search.rerank",
    "Searcher": "search.searcher",
    "Candidate": "search.types",
    "Condition": "search.types",
    "Hit": "search.types",
    "Location": "search.types",
    "PassageHit": "search.types",
    "Ranking": "search.types",
    "Source": "search.types",
}

__all__ = [
    "Candidate",
    "Condition",
    "CrossEncoder",
    "Hit",
    "Location",
    "PassageHit",
    "Ranked",
    "Ranking",
    "SearchError",
    "Searcher",
    "Source",
    "as_json",
    "parse_filters",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'search' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
