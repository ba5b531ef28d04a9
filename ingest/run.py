"""One run of ingest from open to close: the store, and the pipeline into it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from config import Settings
from ingest.chunk import Chunker
from ingest.fields import FieldNames
from ingest.pipeline import Counts, Pipeline, Tools
from ingest.progress import Progress
from ingest.prune import Gone, find_gone, obstacle, remove
from ingest.read import read
from ingest.read.source import Options
from ingest.read.walk import Skipped, empty_folders
from ingest.rejects import Rejects
from ingest.seen import Seen
from ingest.summary import Summary
from search.embed import load_embedder
from search.errors import StoreMissing
from search.store import Store
from search.store.lock import only_writer
from search.store.open import open_store
from search.types import Fault


@dataclass(frozen=True, slots=True)
class Job:
    """What to ingest and how. `prune_after_rejects`: the rejected are known and accepted.

    `prune` removes what is gone from the inputs; `force` also a large share of it. `take_over`:
    documents may replace those of other sources.
    """

    inputs: Sequence[str]
    settings: Settings
    options: Options
    names: FieldNames
    rejects: Path
    dry_run: bool = False
    prune: bool = False
    prune_after_rejects: bool = False
    force: bool = False
    take_over: bool = False


class Interrupted(Exception):
    """The user stopped the run; what was stored stays."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts


def ingest(job: Job, progress: Progress) -> Summary:
    """Run the job to its end. Raises SearchError's kinds, and Interrupted."""
    lock = nullcontext() if job.dry_run else only_writer(job.settings)
    with lock, _opened(job, progress) as store, closing(Seen()) as seen:
        settings = job.settings
        tokenizer = load_embedder(settings).tokenizer
        chunker = Chunker(tokenizer, settings.chunk_overlap, settings.language)
        rejects = Rejects(job.rejects)
        tools = Tools(
            store, chunker, seen, rejects, progress, job.names, job.dry_run, job.take_over
        )
        return _run(job, tools, rejects)


def verify(settings: Settings) -> tuple[int, list[Fault]]:
    """(documents, what is wrong in the store)"""
    with closing(open_store(settings)) as store:
        return store.describe().documents, store.check()


def repair(settings: Settings) -> tuple[list[Fault], list[Fault]]:
    """(what was wrong in the store, what still is)"""
    open_store(settings).close()  # StoreMissing: a mistyped name must not make a store
    with only_writer(settings), closing(open_store(settings, create=True)) as store:
        return store.check(), store.repair()


@contextmanager
def _opened(job: Job, progress: Progress) -> Iterator[Store | None]:
    """A dry run neither makes a store nor needs one."""
    try:
        store = open_store(job.settings, create=not job.dry_run, on_embedded=progress.add_embedded)
    except StoreMissing:
        if not job.dry_run:
            raise
        yield None
        return
    with closing(store):
        yield store


def _run(job: Job, tools: Tools, rejects: Rejects) -> Summary:
    started = time.monotonic()
    pipeline, skipped = Pipeline(tools), Skipped()
    try:
        pipeline.run(read(job.inputs, job.options, skipped, job.names))
    except KeyboardInterrupt:
        raise Interrupted(pipeline.counts) from None
    finally:
        rejects_file = rejects.close()
    counts, store, problem = pipeline.counts, tools.store, None
    gone, unsure = None, False
    if job.prune and store is not None:
        gone = _find_gone(job, store, tools.seen, pipeline)
        # Only a run over all inputs can tell; not after rejections, where that removes nothing.
        may_remove = not counts.rejected or job.prune_after_rejects
        unsure = job.options.only is not None and gone.records and may_remove
        problem = None if unsure else _remove(job, store, gone, counts)
    return Summary(
        counts=counts,
        seconds=time.monotonic() - started,
        skipped=skipped,
        store=store.describe() if store is not None else None,
        rejects=rejects_file,
        dry_run=job.dry_run,
        pruned=job.prune and problem is None and not unsure,
        unknown_sources=gone.unknown if gone else 0,
        unsure=unsure,
        problem=problem or _mismatch(counts, tools),
    )


def _find_gone(job: Job, store: Store, seen: Seen, pipeline: Pipeline) -> Gone:
    empty = empty_folders(job.inputs, job.options)
    return find_gone(store, seen, job.inputs, read=pipeline.files, empty=empty)


def _remove(job: Job, store: Store, gone: Gone, counts: Counts) -> str | None:
    """Why nothing was removed, or None."""
    problem = obstacle(
        counts,
        gone,
        may_be_empty=job.options.only is not None,
        after_rejects=job.prune_after_rejects,
        force=job.force,
    )
    if problem is None:
        counts.removed = len(gone.ids) if job.dry_run else remove(store, gone.ids)
    return problem


def _mismatch(counts: Counts, tools: Tools) -> str | None:
    """Whether the counts add up, and the store holds what they say."""
    ended = counts.stored + counts.unchanged + counts.rejected
    if counts.read != ended:
        return f"{counts.read:,} records were read, but only {ended:,} accounted for; run it again"
    if tools.store is None or tools.dry_run:
        return None
    documents = tools.store.describe().documents
    if documents < counts.stored + counts.unchanged:
        return (
            f"the store holds {documents:,} documents, fewer than this run stored or found there; "
            "run it again, and then with --verify in place of the PATHs"
        )
    return None
