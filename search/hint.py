"""Why an answer has no hits, in a sentence, and what may help."""

from __future__ import annotations

from collections.abc import Sequence

from search.filters import mismatch
from search.store import Store
from search.types import Condition, Hit


def why_nothing(
    store: Store, filters: Sequence[Condition], threshold: float, below: Sequence[Hit]
) -> str:
    """`below` are the hits that the threshold hid, best first."""
    if below:
        best = below[0].score
        return (
            f"{len(below)} documents were found, but none has a probability of {threshold:g} or "
            f"more (the best has {best:.3f}): lower the threshold"
        )
    info = store.describe()
    if info.documents == 0:
        return "the store is empty" + ": ingest some documents first" * info.writable
    if filters:
        wrong = mismatch(filters, store.fields())
        return (
            wrong or "no document passes the filters and matches: use fewer filters or other words"
        )
    return "no document matches: use other words"
