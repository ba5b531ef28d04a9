"""The order of work: passes over dev and test sets, tuning, fitting, reports."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.special import expit

from search.errors import InputError
from search.evaluate import calibration, report, writing
from search.evaluate.calibration import Calibration
from search.evaluate.data import Task, read_files, read_folder
from search.evaluate.fit import Passes, fit_blend
from search.evaluate.report import Report
from search.evaluate.session import Pass, Session
from search.evaluate.tune import Tuning, held_out_blends, tune
from search.rerank import Blend
from search.rerank.checkpoint import open_checkpoint

Runs = Mapping[str, Mapping[str, list[str]]]
"""stage → query id → document ids"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command found, by task name; and the files that tuning and fitting wrote."""

    reports: Mapping[str, Report]
    runs: Mapping[str, Runs]
    tuning: Tuning | None
    calibrations: Mapping[str, Calibration]
    written: Sequence[Path]


def run(session: Session, args: argparse.Namespace) -> Outcome:
    """All that the flags ask for; nothing is chosen or fitted on the sets reported on."""
    tests = _tests(args)
    needs_dev = args.tune or args.write_model
    own_folder = _own_folder(session) if args.write_model else None
    dev = [session.run(task, folder) for task, folder in _dev(args)] if needs_dev else []
    tuning, written = None, []
    if args.tune:
        tuning = _tune(session, dev, args)
        if args.write:
            writing.write_settings(args.write, tuning, session.settings)
            written.append(args.write)
    passes = [session.run(task, folder) for task, folder in tests]
    calibrations = _measure(session, passes, session.blend, "", args) if args.calibrate else {}
    if args.write_model:
        fitted = _fit(session, dev, args)
        calibrations |= _measure(session, dev, fitted, ", dev, fitted", args)
        calibrations |= _measure(session, passes, fitted, ", fitted", args)
        assert own_folder is not None
        written.append(writing.write_model(own_folder, fitted))
        session.blend = fitted  # what is reported is what was written
    return Outcome(
        {p.task.name: _report(session, p, args) for p in passes},
        {p.task.name: _runs(session, p) for p in passes},
        tuning,
        calibrations,
        written,
    )


def _own_folder(session: Session) -> Path:
    """Where the model's blend is written. Raises InputError for a version: none changes."""
    checkpoint = open_checkpoint(session.settings.model, session.settings.models)
    if checkpoint.version is None:
        return checkpoint.folder
    raise InputError(
        f"{checkpoint.name!r} is a version, which does not change: `two-stage models add NEW_NAME "
        "SOURCE --judged FOLDER` makes one with a blend fitted on those queries"
    )


def _tests(args: argparse.Namespace) -> list[tuple[Task, Path | None]]:
    """Tasks to report on, each with the folder whose corpus it searches; None: the store's."""
    if args.queries:
        task = read_files(args.queries, args.qrels, _name_of(args.qrels))
        return [(_shaped(task, args), None)]
    return _folders(args.folders, args.split, args)


def _dev(args: argparse.Namespace) -> list[tuple[Task, Path | None]]:
    return _folders(args.dev or args.folders, args.dev_split, args)


def _folders(
    folders: Sequence[Path], split: str, args: argparse.Namespace
) -> list[tuple[Task, Path | None]]:
    tasks: list[tuple[Task, Path | None]] = []
    for folder in folders:
        own = args.qrels_dir if (folder / args.qrels_dir).is_dir() else "qrels"
        tasks.append((_shaped(read_folder(folder, split, own), args), folder))
    names = [task.name for task, _ in tasks]
    if len(set(names)) < len(names):
        raise InputError(
            f"folders must differ in name, which reports and stores go by: {', '.join(names)}"
        )
    return tasks


def _name_of(qrels: Path) -> str:
    """covid/qrels/test.tsv → covid; robust04.qrels → robust04"""
    folder = qrels.resolve().parent
    return folder.parent.name if folder.name.startswith("qrels") else qrels.stem


def _shaped(task: Task, args: argparse.Namespace) -> Task:
    return replace(task, judged_pool=args.judged_pool).sample(args.limit_queries, args.seed)


def _tune(session: Session, dev: Sequence[Pass], args: argparse.Namespace) -> Tuning:
    """Choose on dev, and let the session use what was chosen.

    Without --write-model the model keeps its blend, so that is what is judged.
    """
    ks = sorted(set.intersection(*(set(p.ks) for p in dev)))
    passes = [(p.task, p.scored) for p in dev]
    if args.write_model:
        blends = held_out_blends(passes, max(ks), args.min_grade, _fully_judged(dev, args))
    else:
        blends = [session.blend] * len(passes)
    tuning = tune(passes, blends, ks, args.blends, args.bound)
    session.use(tuning.chosen.pipeline)
    return tuning


def _fit(session: Session, dev: Sequence[Pass], args: argparse.Namespace) -> Blend:
    """The blend of all dev sets together; its log-odds are those of the fully judged ones."""
    k = min(session.pipeline(p).candidates for p in dev)
    passes = [(p.task, p.scored) for p in dev]
    return fit_blend(passes, k, args.min_grade, session.embedding, _fully_judged(dev, args))


def _fully_judged(dev: Sequence[Pass], args: argparse.Namespace) -> Passes | None:
    """The dev sets that --judged names; None: all."""
    judged = {folder.resolve().name for folder in args.judged or ()}
    return [(p.task, p.scored) for p in dev if p.task.name in judged] or None


def _measure(
    session: Session,
    passes: Sequence[Pass],
    blend: Blend,
    suffix: str,
    args: argparse.Namespace,
) -> dict[str, Calibration]:
    found = {}
    for p in passes:
        log_odds, labels = _outcomes(session, p, blend, args.min_grade)
        found[p.task.name + suffix] = calibration.measure(expit(log_odds), labels)
    return found


def _outcomes(
    session: Session, p: Pass, blend: Blend, min_grade: int
) -> tuple[calibration.Values, calibration.Values]:
    pipeline = session.pipeline(p)
    shown = blend.with_first_stage(pipeline.blend)  # what a search gives with these settings
    return calibration.outcomes(p.task, p.scored, pipeline.candidates, shown, min_grade)


def _report(session: Session, p: Pass, args: argparse.Namespace) -> Report:
    return report.build(
        p.task,
        p.scored,
        session.pipeline(p),
        session.blend,
        ks=p.ks,
        weights=args.blends,
        min_grade=args.min_grade,
        seed=args.seed,
    )


def _runs(session: Session, p: Pass) -> Runs:
    return report.stages(p.scored, session.pipeline(p), session.blend)
