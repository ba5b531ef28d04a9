"""python -m search.evaluate FOLDER: is the second stage worth it, and with which settings?"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.terminal import forget_current_folder, printable, run_command

if __name__ == "__main__":
    forget_current_folder()

import config
from search.errors import InputError, MissingExtra
from search.evaluate import arguments

if TYPE_CHECKING:
    from rich.console import Console

    from config import Settings


def main(given: Sequence[str] | None = None, prog: str = arguments.PROG) -> int:
    """Run the command; returns its exit status."""
    stopped = "interrupted; what was scored is kept"
    return run_command("evaluate", lambda: run(arguments.parse(given, prog)), stopped)


def run(args: argparse.Namespace) -> int:
    names = ("model", "device", "store", "retrieval")
    flags = {name: getattr(args, name) for name in names} | config.parse_set(args.set)
    settings = config.load(flags, os.environ)
    try:
        return golden(args, settings) if args.golden else evaluate(args, settings)
    except OSError as error:
        if error.filename is None:
            raise
        raise InputError(
            f"{error.filename}: cannot be read or written: {error.strerror}; --cache, --json, "
            "--runs and --plots say where files go"
        ) from None


def golden(args: argparse.Namespace, settings: Settings) -> int:
    """Check the golden pairs; status 1 when the model orders any of them wrongly."""
    from search.evaluate import golden as pairs
    from search.evaluate import tables
    from search.rerank import CrossEncoder

    read = pairs.read(args.golden)
    verdicts = pairs.judge(read, CrossEncoder.load(settings))
    _console().print(tables.golden(verdicts))
    return 0 if all(verdict.right for verdict in verdicts) else 1


def evaluate(args: argparse.Namespace, settings: Settings) -> int:
    """Score, tune and fit if asked, report, and write what was asked for."""
    # Heavy modules only from here on, so that --help and usage errors are instant.
    try:
        from search.evaluate import export, plots, tables, work
        from search.evaluate.progress import Shown
        from search.evaluate.session import Session
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "scipy", "evaluate", "the evaluation") from None

    console, messages = _console(), _console(stderr=True)
    if args.plots:
        plots.new_figure(1, 1)  # if matplotlib is missing, say so before the work, not after it

    note = arguments.note_on_store(args, settings)
    if note:
        messages.print(note, style="dim", soft_wrap=True)
    shown = Shown(sys.stderr, messages)
    session = Session(settings, args.cache, tuple(args.k), shown, store_given=bool(args.store))
    outcome = work.run(session, args)
    if outcome.tuning:
        console.print(tables.tuning(outcome.tuning))
    for report in outcome.reports.values():
        console.print(tables.report(report))
    for name, calibration in outcome.calibrations.items():
        console.print(tables.calibration(name, calibration))
    if args.json:
        export.write_json(args.json, export.as_json(outcome, session.model.info))
    for name, runs in outcome.runs.items() if args.runs else ():
        export.write_runs(args.runs, name, runs)
    if args.plots:
        plots.save_all(args.plots, outcome)
    for path in filter(None, (args.json, args.runs, args.plots, *outcome.written)):
        messages.print(printable(f"wrote {path}"), style="dim", markup=False, soft_wrap=True)
    return 0


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    # In a pipe, rich would wrap tables at 80 columns.
    wide = None if (sys.stderr if stderr else sys.stdout).isatty() else 180
    return Console(stderr=stderr, highlight=False, width=wide)


if __name__ == "__main__":
    sys.exit(main())
