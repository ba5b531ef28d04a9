"""python -m search.evaluate FOLDER: is the second stage worth it, and with which settings?"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import config
from search.errors import SearchError
from search.evaluate import arguments

if TYPE_CHECKING:
    from rich.console import Console

    from config import Settings

INTERRUPTED = 130


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    args = arguments.build_parser().parse_args(given)
    try:
        arguments.check(args)
        names = ("model", "device", "store", "retrieval")
        flags = {name: getattr(args, name) for name in names} | config.parse_set(args.set)
        settings = config.load(flags, os.environ)
        return golden(args, settings) if args.golden else evaluate(args, settings)
    except SearchError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("evaluate: interrupted; what was scored is kept", file=sys.stderr)
        return INTERRUPTED


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
    from search.evaluate import export, plots, tables, work
    from search.evaluate.progress import Shown
    from search.evaluate.session import Session

    console, messages = _console(), _console(stderr=True)
    if args.plots:
        plots.new_figure(1, 1)  # a missing matplotlib is told before the work, not after it

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
        messages.print(f"wrote {path}", style="dim", highlight=False)
    return 0


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    # In a pipe, rich would wrap tables at 80 columns.
    wide = None if (sys.stderr if stderr else sys.stdout).isatty() else 180
    return Console(stderr=stderr, highlight=False, width=wide)


if __name__ == "__main__":
    sys.exit(main())
