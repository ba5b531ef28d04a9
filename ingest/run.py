"""One run of ingest from open to close: the store, the ledger and the pipeline between them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from config import Settings
from ingest.chunk import Chunker
from ingest.fields import FieldNames
from ingest.ledger import Ledger
from ingest.lock import only_ingest
from ingest.pipeline import Counts, Pipeline, Tools
from ingest.progress import Progress
from ingest.read import read
from ingest.read.source import Options
from ingest.read.walk import Skipped
from ingest.rejects import Rejects
from ingest.seen import Seen
from ingest.summary import Summary, faults
from search.embed import load_embedder
from search.store import Store
from search.store.open import open_store

MEND = (
    "run it again (--prune also removes what is not in the input), or ask "
    "`python -m ingest --verify` what differs"
)


@dataclass(frozen=True, slots=True)
class Job:
    """What to ingest and how. `prune_after_rejects`: the rejected are known and accepted."""

    inputs: Sequence[str]
    settings: Settings
    options: Options
    names: FieldNames
    rejects: Path
    dry_run: bool = False
    prune: bool = False
    prune_after_rejects: bool = False


class Interrupted(Exception):
    """The user stopped the run; what was stored stays."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts


def ingest(job: Job, progress: Progress) -> Summary:
    """Run the job to its end. Raises SearchError's kinds, and Interrupted."""
    if job.dry_run:
        return _ingest(job, progress)
    with only_ingest(ledger_path(job.settings)):
        return _ingest(job, progress)


def _ingest(job: Job, progress: Progress) -> Summary:
    store = _open(job)
    try:
        ledger = Ledger(ledger_path(job.settings), read_only=job.dry_run)
        with closing(ledger), closing(Seen()) as seen:
            settings = job.settings
            tokenizer = load_embedder(settings).tokenizer
            chunker = Chunker(tokenizer, settings.chunk_overlap, settings.language)
            rejects = Rejects(job.rejects)
            tools = Tools(store, ledger, chunker, seen, rejects, progress, job.names, job.dry_run)
            return _run(job, tools)
    finally:
        if store is not None:
            store.close()


def verify(settings: Settings) -> tuple[int, list[str]]:
    """(documents, faults): the store compared with its ledger, id by id, and with itself."""
    with (
        closing(open_store(settings)) as store,
        closing(Ledger(ledger_path(settings), read_only=True)) as ledger,
    ):
        return store.describe().documents, faults(ledger.differences(store), store.check())


def ledger_path(settings: Settings) -> Path:
    """The embedded store's own file; for each Weaviate collection a file beside it."""
    if settings.weaviate_url is None:
        return settings.store
    place = f"{settings.weaviate_url} {settings.weaviate.collection} {settings.weaviate.tenant}"
    name = blake2b(place.encode(), digest_size=4).hexdigest()
    return settings.store.with_name(f"ledger-{name}.db")


def _open(job: Job) -> Store | None:
    """A dry run neither makes a store nor needs one."""
    if job.dry_run and job.settings.weaviate_url is None and not job.settings.store.exists():
        return None
    return open_store(job.settings, create=not job.dry_run)


def _run(job: Job, tools: Tools) -> Summary:
    started = time.monotonic()
    _mend(tools)
    pipeline, skipped, problem = Pipeline(tools), Skipped(), None
    try:
        pipeline.run(read(job.inputs, job.options, skipped, job.names))
    except KeyboardInterrupt:
        raise Interrupted(pipeline.counts) from None
    finally:
        rejects = tools.rejects.close()
    if job.prune:
        problem = _obstacle(pipeline.counts, job.prune_after_rejects)
        if problem is None:
            pipeline.prune()
    return Summary(
        counts=pipeline.counts,
        seconds=time.monotonic() - started,
        skipped=skipped,
        store=tools.store.describe() if tools.store is not None else None,
        rejects=rejects,
        dry_run=job.dry_run,
        pruned=job.prune and problem is None,
        problem=problem or _mismatch(pipeline.counts, tools),
    )


def _mend(tools: Tools) -> None:
    """After a kill between store and ledger; equal counts need no look at every id."""
    if tools.store is None or tools.dry_run:
        return
    if tools.store.describe().documents != len(tools.ledger):
        found = tools.ledger.mend(tools.store)
        known, gone = len(found.extra) + len(found.changed), len(found.missing)
        tools.progress.say(
            f"an earlier run was cut short: the ledger took over {known:,} documents "
            f"from the store and forgot {gone:,}"
        )


def _obstacle(counts: Counts, after_rejects: bool) -> str | None:
    """Why nothing may be removed: what was not read may still be in the input."""
    if counts.incomplete:
        return "nothing was pruned, since a part of the input could not be read"
    if counts.rejected and not after_rejects:
        return (
            "nothing was pruned, since records were rejected (--allow-rejects prunes all the same)"
        )
    return None


def _mismatch(counts: Counts, tools: Tools) -> str | None:
    """Whether the counts add up, and the store holds as many documents as the ledger says."""
    ended = counts.stored + counts.unchanged + counts.rejected
    if counts.read != ended:
        return f"{counts.read:,} records were read, but only {ended:,} accounted for; {MEND}"
    if tools.store is None or tools.dry_run:
        return None
    documents, known = tools.store.describe().documents, len(tools.ledger)
    if documents != known:
        return f"the store holds {documents:,} documents, its ledger {known:,}; {MEND}"
    return None
