"""What the integrations share: metadata of what was found, and a failed reranking made visible.

One file per framework, each with an extra of its own; docs/integrations.md has examples.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search.errors import InputError
from search.filters import parse_filters
from search.rerank import CrossEncoder
from search.rerank.provider import in_short
from search.searcher import Searcher
from search.types import Condition, Hit, Ranking, passage_input

logger = logging.getLogger(__name__)


def run_search(searcher: Searcher, query: str, arguments: Mapping[str, Any]) -> Ranking:
    """As `Searcher.search`, but filters may be text, and a failed reranking is logged."""
    filters = conditions(arguments.get("filters") or ())
    ranking = searcher.search(query, **{**arguments, "filters": filters})
    if ranking.failed or ranking.reranked == "partial":
        logger.warning("%s: the rest is in the first stage's order", ranking.reason)
    return ranking


def conditions(filters: str | Condition | Iterable[str | Condition]) -> tuple[Condition, ...]:
    """One filter or several, as `--where` or `Searcher.search` takes them. Raises InputError."""
    if isinstance(filters, str | Condition):
        filters = (filters,)
    return tuple(
        condition
        for found in filters
        for condition in ((found,) if isinstance(found, Condition) else parse_filters([found]))
    )


def passage_id(hit: Hit) -> str:
    """Frameworks take equal ids for equal texts, and a hit shows one passage of its document."""
    return f"{hit.id}#{hit.candidate.passage_index}"


def hit_metadata(ranking: Ranking, hit: Hit) -> dict[str, Any]:
    """Flat, in JSON's types. A field of the document's own that has one of our names is kept as
    `metadata.NAME`."""
    location, source = hit.location, hit.source
    line = location.line if location else None
    found: dict[str, Any] = {
        "id": hit.id,
        "title": hit.title,
        "source": source.file if source else None,
        "line": source.line if line is None and source else line,
        "page": location.page if location else None,
        "heading": location.heading if location else None,
        "highlight": list(hit.highlight) if hit.highlight else None,
        "also_in": [copy.document_id for copy in hit.also_in],
        "rank": hit.rank,
        "score": hit.score,
        "probability": hit.probability,
        "retrieval_rank": hit.retrieval_rank,
        "retrieval_score": hit.retrieval_score,
        "reranked": ranking.reranked,
        "reason": ranking.reason,
        "notes": list(ranking.notes),
    }
    own = {
        f"metadata.{name}" if name in found else name: list(v) if isinstance(v, tuple) else v
        for name, v in hit.metadata.items()
    }
    return own | found


def rerank(
    encoder: CrossEncoder, query: str, texts: Sequence[tuple[str, str]], top_k: int | None
) -> list[tuple[int, dict[str, Any]]]:
    """(position in `texts`, metadata) of the best `top_k`, best first; `texts` are (title, text).

    Where the cross-encoder fails, they stay in the order in which they came, and say so. Raises
    InputError for a `top_k` below 1.
    """
    if top_k is not None and top_k < 1:
        raise InputError(f"found top_k={top_k}, expected 1 or more, or None for all")
    order, reason = _order(encoder, query, texts, top_k)
    return [
        (
            index,
            {
                "rank": rank,
                "probability": probability,
                "retrieval_rank": index + 1,
                "reranked": reason is None,
                "reason": reason,
            },
        )
        for rank, (index, probability) in enumerate(order, start=1)
    ]


def _order(
    encoder: CrossEncoder, query: str, texts: Sequence[tuple[str, str]], top_k: int | None
) -> tuple[Sequence[tuple[int, float | None]], str | None]:
    """(position, probability) of each, and why they are not in the model's order; else None."""
    foreign = encoder.unreadable(query)
    reason = f"the reranker cannot read this query ({foreign})"
    if not foreign:
        try:
            ranked = encoder.rank(query, [passage_input(*text) for text in texts], top_k)
            return [(found.index, found.score) for found in ranked], None
        except Exception as error:  # noqa: BLE001  # the model and its libraries raise anything
            reason = f"the reranker failed: {in_short(error)}"
    logger.warning("%s: the order is the one given", reason)
    return [(index, None) for index in range(len(texts))][:top_k], reason
