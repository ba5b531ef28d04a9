"""Follow files and folders: ingest what has changed and remove what has vanished, until stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from ingest.progress import Progress
from ingest.read.walk import STDIN, Skipped, sources
from ingest.record import Rejection
from ingest.run import Job, ingest
from ingest.summary import Summary
from search.errors import InputError, SearchError

SECONDS_BETWEEN_LOOKS = 2.0
# Looking at many files takes time, too; most of it is left to others.
PAUSE_PER_LOOK = 10

Files = dict[str, tuple[int, int, int]]
"""Id of a file (its whole path) → what every write changes."""


def watch(
    job: Job,
    progress: Callable[[], AbstractContextManager[Progress]],
    report: Callable[[Summary], None],
    say: Callable[[str], None],
) -> None:
    """Ingest now, and again whenever something changes below the inputs; ends by an interrupt.

    Raises InputError for standard input and for a dry run.
    """
    if STDIN in job.inputs or job.dry_run:
        raise InputError("--watch follows files and folders: leave out - and --dry-run")
    job = replace(job, prune=True)
    part: Job | None = job
    known: Files = {}
    now = look(job) or {}
    while True:
        try:
            while part is not None:
                with progress() as shown:
                    result = ingest(part, shown)
                report(result)
                part = job if result.unsure else None
            known = now
            job.options.meter.total = None  # of what is yet to change, nobody knows the size
        except SearchError as error:  # the store is locked, say: the next look tries again
            say(str(error))
        now = _wait(job, known)
        part = changes(job, known, now, say)


def _wait(job: Job, known: Files) -> Files:
    """Wait until the files differ from `known`; returns their new state."""
    pause = SECONDS_BETWEEN_LOOKS
    while True:
        time.sleep(pause)
        started = time.monotonic()
        now = look(job)
        if now is not None and now != known:
            return now
        pause = max(SECONDS_BETWEEN_LOOKS, PAUSE_PER_LOOK * (time.monotonic() - started))


def changes(job: Job, known: Files, now: Files, say: Callable[[str], None]) -> Job | None:
    """The run that brings the store from `known` to `now`; None when nothing at all is left."""
    if not now:
        say("all files are gone; is a disk not mounted? Their documents stay in the store")
        return None
    if not known:  # nothing has been read yet, or all files have come back
        return job
    changed = {name for name, state in now.items() if known.get(name) != state}
    return replace(job, options=replace(job.options, only=changed))


def look(job: Job) -> Files | None:
    """The files to read, as they are now; None when a folder cannot be looked into."""
    files: Files = {}
    for source in sources(job.inputs, job.options, Skipped()):
        if isinstance(source, Rejection):
            return None
        if source.path is not None and source.id:  # of a pipe nobody knows whether it changes
            try:
                status = source.path.stat()
            except OSError:  # it has just vanished
                continue
            files[source.id] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return files
