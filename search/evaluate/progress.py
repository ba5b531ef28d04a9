"""How far a pass is: a bar with the time left on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from ingest.progress import Progress as IngestProgress
from ingest.progress import progress as ingest_progress
from search.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console

    from ingest.read.source import Meter

SECONDS_BETWEEN_LINES = 10.0


class Shown:
    """Progress of both kinds of long work, on this stream and the console that writes to it."""

    def __init__(self, stream: TextIO, console: Console) -> None:
        self._stream = stream
        self._console = console

    @contextmanager
    def ingesting(self, name: str, meter: Meter) -> Iterator[IngestProgress]:
        """For the ingestion of the corpus of `name`."""
        self._console.print(f"ingesting {name}")
        with ingest_progress(self._stream, meter, quiet=False) as progress:
            yield progress

    def note(self, text: str) -> None:
        """What a reader of the figures should know."""
        self._console.print(printable(text), style="dim", markup=False, soft_wrap=True)

    @contextmanager
    def scoring(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """A callback (queries done, queries in all) for the scoring of `name`."""
        if not self._console.is_terminal:
            yield _Lines(self._console, name)
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns, TimeRemainingColumn(), console=self._console, transient=True
        ) as bar:
            task = bar.add_task(f"scoring {name}", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """A line now and then, and one at the end; nothing when there was nothing to score."""

    def __init__(self, console: Console, name: str) -> None:
        self._console, self._name = console, name
        self._start = self._last = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done
        new = done - self._first
        if not new or (done < total and now - self._last < SECONDS_BETWEEN_LINES):
            return
        self._last = now
        left = (now - self._start) / new * (total - done)
        state = f"{left:,.0f} s left" if done < total else f"done in {now - self._start:,.0f} s"
        self._console.print(f"scoring {self._name}: {done}/{total} queries, {state}")
