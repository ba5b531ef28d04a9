"""Which documents of the store are gone from the input, and whether they may be removed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path

from ingest.pipeline import Counts
from ingest.read.walk import STDIN, escaped, may_be_there
from ingest.seen import Seen
from search.store import Store
from search.types import Source

# Above this share of what came from the PATHs, --prune asks for --force: it may be a mistake. A
# handful is no large share, as long as it leaves half.
LARGE_SHARE = 0.2
HANDFUL = 10
HALF = 0.5
AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Gone:
    """What is stored of the PATHs, and no longer in them.

    `documents`: how many the store holds of these PATHs. `unknown`: ids that were not in the
    input, of documents whose source the store does not know, and which are never removed.
    `records`: some of the ids are of records, which another file may hold by now; a document that
    is a whole file is known by its path. `emptied`: those PATHs that documents came from, and that
    hold no file any more.
    """

    ids: list[str]
    documents: int
    unknown: int
    records: bool
    emptied: list[str] = field(default_factory=list)


class Scope:
    """The PATHs of a run: a source is within when its file is one of them, or below one."""

    def __init__(self, inputs: Iterable[str]) -> None:
        self._files: set[str] = set()
        for name in inputs:
            path = Path(name)
            whole = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
            self._files.add(STDIN if name == STDIN else escaped(whole.as_posix()))

    def __contains__(self, source: Source) -> bool:
        above = (parent.as_posix() for parent in Path(source.file).parents)
        return source.file in self._files or not self._files.isdisjoint(above)


def find_gone(
    store: Store,
    seen: Seen,
    inputs: Iterable[str],
    *,
    read: Collection[str],
    empty: Iterable[str] = (),
) -> Gone:
    """Compare what the store holds of the `inputs` with the documents of this run.

    `read`: the files in which this run found records. What came from another file stays as long as
    that is there: it may be empty or unreadable now, or left out of this run. `empty`: folders of
    the `inputs` without a file.
    """
    scope = Scope(inputs)
    is_there = cache(may_be_there)
    unmounted = {name: Scope([name]) for name in empty}
    emptied: dict[str, None] = {}
    ids: list[str] = []
    documents = unknown = 0
    records = False
    for listed in store.documents():
        if listed.source is None:
            unknown += listed.id not in seen
        elif listed.source in scope:
            documents += 1
            file = listed.source.file
            if (file not in read and is_there(file)) or listed.id in seen:
                continue
            ids.append(listed.id)
            records |= listed.id != file
            emptied |= {name: None for name in unmounted if listed.source in unmounted[name]}
    return Gone(ids, documents, unknown, records, list(emptied))


def obstacle(
    counts: Counts, gone: Gone, *, may_be_empty: bool, after_rejects: bool, force: bool
) -> str | None:
    """Why nothing may be removed: what was not read may still be in the input."""
    if counts.incomplete:
        return "nothing was pruned, since a part of the input could not be read"
    if counts.read == 0 and not may_be_empty:
        return (
            "nothing was pruned, since no record was found in these PATHs; is a disk not mounted?"
        )
    if counts.rejected and not after_rejects:
        return (
            "nothing was pruned, since records were rejected (--allow-rejects prunes all the same)"
        )
    if gone.emptied and not force:
        return (
            f"nothing was pruned, since there is no file in {', '.join(gone.emptied)}, where "
            "documents came from; is a disk not mounted? --force removes them"
        )
    few = max(min(HANDFUL, HALF * gone.documents), LARGE_SHARE * gone.documents)
    if not force and len(gone.ids) > few:
        return (
            f"nothing was pruned, since {len(gone.ids):,} of the {gone.documents:,} documents that "
            "came from these PATHs are no longer there; --force removes them"
        )
    return None


def remove(store: Store, ids: Iterable[str]) -> int:
    """Delete these documents, some at a time; how many were there."""
    return sum(store.delete(page) for page in _pages(iter(ids)))


def _pages(ids: Iterator[str]) -> Iterator[list[str]]:
    while page := list(islice(ids, AT_ONCE)):
        yield page
