"""What a run reports at its end, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.pipeline import Counts
from ingest.read.walk import Skipped
from search.types import Fault, StoreInfo


@dataclass(frozen=True, slots=True)
class Summary:
    """`problem`: why the run is not a success although it came to its end, else None.

    `unknown_sources`: documents that were not in the input, and that --prune left alone, since the
    store does not know where they came from. `unsure`: only some of the files were read, and
    records that are gone from these may be in another, so that none was removed.
    """

    counts: Counts
    seconds: float
    skipped: Skipped
    store: StoreInfo | None
    rejects: Path | None
    dry_run: bool
    pruned: bool
    problem: str | None
    unknown_sources: int = 0
    unsure: bool = False


def as_text(summary: Summary) -> str:
    counts = summary.counts
    rate = f"{counts.read / max(summary.seconds, 1e-9):,.0f}/s"
    would = "dry run, nothing was changed: would have\n" if summary.dry_run else ""
    replaced = f" ({counts.replaced:,} in place of an earlier version)" if counts.replaced else ""
    line = f"stored {counts.stored:,}{replaced}   unchanged {counts.unchanged:,}   "
    line += f"rejected {counts.rejected:,}   "
    line += f"removed {counts.removed:,}   " if summary.pruned else ""
    lines = [f"{would}{line}({counts.read:,} read in {duration(summary.seconds)}, {rate})"]
    if summary.rejects is not None:
        lines.append(f"rejected records are in {summary.rejects}: mend them and ingest that file")
    lines += _notes(summary)
    lines += summary.skipped.lines()
    if summary.store is not None:
        store = summary.store
        size = f"{_counted(store.documents, 'document')}, {_counted(store.passages, 'passage')}"
        lines.append(f"store {store.location}: {size}")
    return "\n".join(lines)


def _notes(summary: Summary) -> list[str]:
    counts, lines = summary.counts, []
    if counts.taken_over:
        lines.append(f"taken over {counts.taken_over:,}: they replace documents of other sources")
    if counts.renamed:
        lines.append(
            f"renamed {counts.renamed:,}: files stored under a shorter id now have their whole path"
        )
    if summary.unknown_sources:
        lines.append(
            f"left alone {summary.unknown_sources:,}: not in this input, but stored before sources "
            "were kept; ingest their files again, or delete them"
        )
    if summary.unsure:
        lines.append("records are gone from a file: looking whether another one has them now")
    return lines


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(seconds: float) -> str:
    """3.1 s, 4:05 min, 1:02:03 h"""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"


def as_json(summary: Summary) -> dict[str, Any]:
    counts = summary.counts
    return {
        "read": counts.read,
        "stored": counts.stored,
        "unchanged": counts.unchanged,
        "rejected": counts.rejected,
        "removed": counts.removed,
        "replaced": counts.replaced,
        "taken_over": counts.taken_over,
        "renamed": counts.renamed,
        "unknown_sources": summary.unknown_sources,
        "complete": not counts.incomplete,
        "dry_run": summary.dry_run,
        "seconds": round(summary.seconds, 3),
        "rejects_file": str(summary.rejects) if summary.rejects else None,
        "skipped": summary.skipped.as_json(),
        "store": _store(summary.store),
        "problem": summary.problem,
    }


def _store(store: StoreInfo | None) -> dict[str, Any] | None:
    if store is None:
        return None
    return {
        "kind": store.kind,
        "location": store.location,
        "documents": store.documents,
        "passages": store.passages,
    }


def fault_lines(faults: Sequence[Fault]) -> list[str]:
    """What is wrong in the store, a line each."""
    lines = []
    for fault in faults:
        shown = ", ".join(map(repr, fault.ids)) + (", …" if fault.count > len(fault.ids) else "")
        lines.append(f"{fault.reason}: {fault.count:,}" + (f" ({shown})" if fault.ids else ""))
    return lines
