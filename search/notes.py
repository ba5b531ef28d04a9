"""What an answer says of how it was made, where a reader might expect otherwise."""

from __future__ import annotations

from config import Settings
from search.models.registry import CURRENT
from search.rerank.provider import Reranker
from search.types import StoreInfo


def on_limit(settings: Settings, info: StoreInfo, candidates: int, documents: int) -> str | None:
    """Where the candidates hold fewer documents than are to be shown, and there may be more."""
    limit, most = settings.limit, settings.candidates
    if documents >= min(limit, info.documents) or candidates < most:
        return None
    return (
        f"fewer documents than the limit of {limit}: raise candidates, which is {most}, to "
        "look for more"
    )


def on_vectors(settings: Settings, info: StoreInfo, unreadable: str | None) -> str | None:
    """Where BM25 answered alone, because the embedding model cannot read the query."""
    if not unreadable or settings.retrieval == "bm25":
        return None
    name = f" {info.embedding.name}" if info.embedding else ""
    return (
        f"found by BM25 alone: the embedding model{name} cannot read this "
        f"query ({unreadable}), so that its vector would say nothing"
    )


def on_length(query: str, read: str, unread_tokens: int) -> str | None:
    """Where the end of the query was left out; `read` is what the reranker read of it."""
    parts = []
    if unread_tokens:
        parts.append(f"{unread_tokens:,} of its tokens, at the end, are not in its vector")
    if len(read) < len(query):
        parts.append(f"the reranker read its first {len(read):,} of {len(query):,} characters")
    if not parts:
        return None
    return f"the query is longer than the models read: {'; '.join(parts)}"


def on_blend(reranker: Reranker | None) -> str | None:
    """Where nobody has fitted what the model's scores mean."""
    if reranker is None or reranker.blend.is_fitted:
        return None
    return (
        f"the probabilities are not calibrated for {reranker.info['name']}: they order "
        "this answer, and say nothing more; `two-stage models add NAME MODEL --judged FOLDER` "
        "fits them"
    )


def on_gate(settings: Settings, reranker: Reranker | None) -> str | None:
    """Where the gate, a margin of one retrieval's scores, was chosen for another model's gain."""
    gate, tuned_for = settings.gate, settings.gate_tuned_for
    used = as_set = f"{settings.retrieval} {settings.model}"
    if settings.model == CURRENT and reranker is not None:
        used = f"{settings.retrieval} {reranker.info['name']}"
    if gate is None or tuned_for in (None, used, as_set) or not settings.rerank:
        return None
    return (
        f"the gate {gate:g} was tuned for {tuned_for!r}, but this search uses {used!r}: "
        "tune it again, or set gate: null"
    )
