"""How far a run is, on standard error: a bar on a terminal, a plain line now and then in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Protocol, TextIO

from ingest.read.source import Meter
from search.terminal import printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_TICKS = 0.5


class Progress(Protocol):
    """`update` after each batch with the records done so far; `say` for a line that stays.

    `add_embedded` in between, with the passages embedded since the last call.
    """

    def update(self, records: int) -> None: ...

    def add_embedded(self, passages: int) -> None: ...

    def say(self, line: str) -> None: ...


@contextmanager
def progress(stream: TextIO, meter: Meter, quiet: bool) -> Iterator[Progress]:
    """The form of progress that suits `stream`."""
    if quiet or not stream.isatty():
        lines = Lines(stream, meter, quiet)
        with _ticking(lines.tick, SECONDS_BETWEEN_LINES):
            yield lines
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=False),
        TextColumn("{task.fields[state]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        shown = Bar(bar, meter)
        with _ticking(shown.tick, SECONDS_BETWEEN_TICKS):
            yield shown


@contextmanager
def _ticking(tick: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call `tick` now and then from a thread: one large file can take longer than many batches."""
    over = Event()

    def run() -> None:
        while not over.wait(seconds):
            with suppress(OSError, ValueError):  # whoever reads standard error has gone
                tick()

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class State:
    """How many records are done, and how many passages embedded; as a text, records a second."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self.records = 0
        self.embedded = 0

    def __str__(self) -> str:
        seconds = max(time.monotonic() - self._start, 1e-9)
        state = f"{self.records:,} records, {self.records / seconds:,.0f}/s"
        return f"{state}, {self.embedded:,} passages embedded" if self.embedded else state


class Shown:
    """What a bar and plain lines have in common: they note what is done, then show it."""

    def __init__(self, meter: Meter) -> None:
        self._meter, self._state = meter, State()
        self._done = 0

    def update(self, records: int) -> None:
        self._state.records, self._done = records, self._meter.done
        self.tick()

    def add_embedded(self, passages: int) -> None:
        self._state.embedded += passages
        self.tick()

    def tick(self) -> None:
        """Show the state; nothing where it is not to be shown."""


class Bar(Shown):
    """A bar by bytes read, with the time left; without a known total it only pulses."""

    def __init__(self, bar: RichProgress, meter: Meter) -> None:
        super().__init__(meter)
        self._bar = bar
        self._task: TaskID = bar.add_task("ingest", total=meter.total, state="starting")

    def tick(self) -> None:
        state = f"{self._state} {printable(self._meter.name)}"
        self._bar.update(self._task, completed=self._done, state=state)

    def say(self, line: str) -> None:
        self._bar.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


class Lines(Shown):
    """Plain lines, some seconds apart."""

    def __init__(self, stream: TextIO, meter: Meter, quiet: bool) -> None:
        super().__init__(meter)
        self._stream, self._quiet = stream, quiet
        self._start = self._last = time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        if self._quiet or now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        reading = f", in {self._meter.name}" if self._meter.name else ""
        self.say(f"{self._state}{self._left(now - self._start)}{reading}")

    def say(self, line: str) -> None:
        self._stream.write(printable(line) + "\n")
        self._stream.flush()

    def _left(self, seconds: float) -> str:
        total, done = self._meter.total, self._done  # what is read may not be stored yet
        if not total or not done:
            return ""
        left = seconds * max(total - done, 0) / done
        minutes, rest = divmod(round(left), 60)
        return f", {done / total:.0%}, {minutes}:{rest:02d} left"
