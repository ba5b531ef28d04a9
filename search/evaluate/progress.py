"""How far a pass is: a bar with the time left on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def scoring(console: Console, name: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) that shows the scoring of `name` on this console."""
    if not console.is_terminal:
        yield _Lines(console, name)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(f"scoring {name}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    def __init__(self, console: Console, name: str) -> None:
        self._console, self._name = console, name
        self._start = self._last = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done
        finished = done == total and done > self._first
        if not finished and now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        per_query = (now - self._start) / max(1, done - self._first)
        left = f"{per_query * (total - done):,.0f} s left" if done < total else "done"
        self._console.print(
            f"scoring {self._name}: {done}/{total} queries, {left}", highlight=False
        )
