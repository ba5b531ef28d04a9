"""python -m search.models COMMAND: rerankers as versions: checked, compared, used, taken back."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.terminal import forget_current_folder, json_text, printable, run_command, say, utf8

if __name__ == "__main__":
    forget_current_folder()

import config
from search.errors import InputError, MissingExtra
from search.evaluate import versions
from search.evaluate.arguments import CACHE
from search.models.registry import CURRENT, SHIPPED, Registry
from search.models.version import Check, Version

if TYPE_CHECKING:
    from search.evaluate.progress import Shown

PROG = "python -m search.models"
EPILOG = """\
examples:
  %(prog)s add clinic my-model --judged my-set      # a copy, checked; probabilities fitted
  %(prog)s add m3 BAAI/bge-reranker-v2-m3           # pinned by its commit and the files' hashes
  %(prog)s add ours bundled --judged my-set         # the bundled model, with your probabilities
  %(prog)s list
  %(prog)s compare bundled clinic --data my-set     # nDCG@10 on judged queries, with significance
  %(prog)s compare bundled clinic --queries log.txt # where the two orders differ, over the store
  %(prog)s use clinic                               # what `model: current` stands for
  %(prog)s rollback

A version's name may stand wherever a model is named: --model clinic, model: clinic.

exit status: 0 all well; 1 an error, or a check that failed; 2 wrong usage, or no such version.
"""


def build_parser(prog: str = PROG) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Rerankers as versions: pinned by hash, checked, compared, used, taken back.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, help="what to do"
    )

    def command(name: str, purpose: str, json: bool = False) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=purpose, description=purpose)
        config.add_shared_flags(found)
        if json:
            found.add_argument("--json", action="store_true", help="for programs")
        return found

    def version(found: argparse.ArgumentParser) -> argparse.ArgumentParser:
        found.add_argument("name", type=utf8, metavar="NAME", help="a version's name")
        return found

    add = version(command("add", "check a model and keep it as a version"))
    add.add_argument(
        "source", type=utf8, metavar="FOLDER_OR_HUB_NAME", help="the model, or bundled"
    )
    how = add.add_mutually_exclusive_group()
    how.add_argument("--copy", action="store_true", default=None, help="of a hub model, too")
    how.add_argument(
        "--reference",
        dest="copy",
        action="store_false",
        help="to a folder, too, which must then stay as it is",
    )
    add.add_argument(
        "--judged", type=Path, metavar="FOLDER", help="fit blend and probabilities on this BEIR set"
    )
    _add_split(add, "dev", "fitted on")
    add.add_argument("--force", action="store_true", help="keep it though a check failed")
    command("list", "every version, and which is in use", json=True)
    version(command("show", "one version: where it came from, its checks, its scores", json=True))
    version(command("check", "look at a version again, and say what is wrong", json=True))
    version(command("use", "make a version the current one"))
    command("rollback", "make the one before the current one")
    shadow = command("shadow", "a service scores with this version too, and answers without it")
    _add_trial(shadow)
    canary = command("canary", "a service answers a share of the queries with this version")
    _add_trial(canary)
    canary.add_argument(
        "--share", type=float, default=0.05, metavar="S", help="0–1 (default %(default)s)"
    )
    version(command("remove", "delete a version that is not in use"))
    convert = command("convert", "weights published as a torch pickle, made into safetensors")
    convert.add_argument("source", type=utf8, metavar="FOLDER_OR_HUB_NAME", help="the model")
    convert.add_argument("target", type=Path, metavar="FOLDER", help="is made")
    compare = command("compare", "two models, or versions, side by side", json=True)
    compare.add_argument("a", type=utf8, metavar="A", help="a version, bundled, or any model")
    compare.add_argument("b", type=utf8, metavar="B", help="the other one")
    on = compare.add_mutually_exclusive_group(required=True)
    on.add_argument("--data", type=Path, metavar="FOLDER", help="judged queries, in BEIR layout")
    on.add_argument("--queries", type=Path, metavar="FILE", help="unjudged ones, over the store")
    on.add_argument("--log", type=Path, metavar="FILE", help="what a service with a shadow logged")
    _add_split(compare, "test", "compared on")
    return parser


def _add_trial(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", type=utf8, metavar="NAME", help="a version's name")
    which.add_argument("--off", action="store_true", help="end the trial")


def _add_split(parser: argparse.ArgumentParser, default: str, what: str) -> None:
    parser.add_argument("--split", default=default, help=f"the qrels {what} (default {default})")
    parser.add_argument(
        "--cache", type=Path, default=CACHE, metavar="FOLDER",
        help="keeps stores and scores (default %(default)s)",
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the command; returns its exit status."""
    return run_command("models", lambda: run(build_parser(prog).parse_args(arguments)))


def run(args: argparse.Namespace) -> int:
    settings = config.load(config.parse_set(args.set), os.environ)
    return COMMANDS[args.command](args, Registry(settings.models), settings)


def add(args: argparse.Namespace, registry: Registry, settings: config.Settings) -> int:
    from search.evaluate import admission
    from search.rerank.checkpoint import BUNDLED

    source = str(BUNDLED) if args.source == SHIPPED else args.source
    with registry.draft(args.name, source, args.copy) as draft:
        checks = _of_source(admission.check(draft.version, settings), draft.version)
        print("\n".join(versions.check_lines(checks)), flush=True)
        if not all(check.passed for check in checks) and not args.force:
            say(f"models: {args.name} was not added; --force keeps it all the same")
            return 1
        calibration = admission.brought_along(draft.version)
        if args.judged:
            calibration = _calibrated(admission.calibrate, draft.version, settings, args)
        version = draft.add(checks, calibration)
    print(f"added {version.name}: {admission.trust(version.calibration)}")
    return 0


def _of_source(checks: Sequence[Check], draft: Version) -> list[Check]:
    """The same, naming what was given, and not the draft that is gone when they are read."""
    copy, source = str(draft.folder), draft.source
    return [replace(check, detail=check.detail.replace(copy, source)) for check in checks]


def _calibrated(
    calibrate: Any, version: Version, settings: config.Settings, args: argparse.Namespace
) -> Any:
    try:
        return calibrate(version, settings, args.judged, args.split, args.cache, _shown())
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "scipy", "evaluate", "--judged") from None


def list_versions(args: argparse.Namespace, registry: Registry, settings: config.Settings) -> int:
    current = registry.current
    found = [registry.get(name) for name in registry.names()]
    if args.json:
        trial = asdict(registry.trial)
        listed = [versions.version_json(version) for version in found]
        print(json_text({"current": current, "trial": trial, "versions": listed}, 2))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("", "version", "from", "added", "checks", "probabilities"):
        table.add_column(title)
    table.add_row("*" if current == SHIPPED else "", SHIPPED, "this project", "", "", "calibrated")
    for v in found:
        passed = sum(check.passed for check in v.checks)
        table.add_row(
            "*" if v.name == current else "",
            v.name,
            printable(v.source),
            v.added.partition("T")[0],
            f"{passed}/{len(v.checks)}",
            "calibrated" if v.calibration else "not calibrated",
        )
    Console(highlight=False, width=None if sys.stdout.isatty() else 180).print(table)
    if settings.model != CURRENT:
        print(f"* is what `model: current` stands for; the setting is model: {settings.model}")
    return 0


def show(args: argparse.Namespace, registry: Registry, settings: config.Settings) -> int:
    from search.evaluate.admission import trust
    from search.models.known import known

    version = registry.get(args.name)
    if args.json:
        print(json_text(versions.version_json(version), 2))
        return 0
    kind = "copy of" if version.is_copy else "refers to"
    pinned = f" at {version.revision}" if version.revision else ""
    print(f"{version.name}  {version.digest}")
    print(f"  {kind} {printable(version.source)}{pinned}, added {version.added}")
    print(f"  weights in {printable(str(version.folder))}")
    print("\n".join(versions.check_lines(version.checks)))
    print(f"  probabilities: {trust(version.calibration)}")
    published = known(version.source)
    if published:
        print(f"  published: {published.scores} ({published.source})")
    return 0


def check(args: argparse.Namespace, registry: Registry, settings: config.Settings) -> int:
    from search.evaluate import admission

    checks = admission.check(registry.get(args.name), settings)
    if args.json:
        found = [{"check": c.name, "passed": c.passed, "detail": c.detail} for c in checks]
        print(json_text({"name": args.name, "checks": found}, 2))
    else:
        print("\n".join(versions.check_lines(checks)))
    return 0 if all(check.passed for check in checks) else 1


def use(args: argparse.Namespace, registry: Registry, settings: config.Settings) -> int:
    registry.use(args.name)
    version = registry.find(args.name)
    for failed in [] if version is None else [c.name for c in version.checks if not c.passed]:
        say(f"models: {args.name} was added although a check failed: {failed}")
    _say_current(args.name, settings)
    return 0


def rollback(args: argparse.Namespace, registry: Registry, settings: config.Settings) -> int:
    _say_current(registry.rollback(), settings)
    return 0


def shadow(args: argparse.Namespace, registry: Registry, settings: config.Settings) -> int:
    registry.set_trial(replace(registry.trial, shadow=args.name))
    return _say_trial(registry)


def canary(args: argparse.Namespace, registry: Registry, settings: config.Settings) -> int:
    if not 0 <= args.share <= 1:
        raise InputError(f"--share is {args.share:g}; expected a share of the queries, 0 to 1")
    registry.set_trial(replace(registry.trial, canary=args.name, canary_share=args.share))
    return _say_trial(registry)


def _say_trial(registry: Registry) -> int:
    trial = registry.trial
    print(f"shadow: {trial.shadow or 'none'}")
    share = f", {trial.canary_share:g} of the queries" if trial.canary else ""
    print(f"canary: {trial.canary or 'none'}{share}")
    return 0


def _say_current(name: str, settings: config.Settings) -> None:
    print(f"current: {name}")
    if settings.model != CURRENT:
        print(f"searches use it with `model: current`; the setting is model: {settings.model}")


def remove(args: argparse.Namespace, registry: Registry, settings: config.Settings) -> int:
    registry.remove(args.name)
    print(f"removed {args.name}")
    return 0


def convert(args: argparse.Namespace, registry: Registry, settings: config.Settings) -> int:
    from search.models.convert import convert

    print(f"made {printable(str(convert(args.source, args.target.expanduser())))}")
    return 0


def compare(args: argparse.Namespace, registry: Registry, settings: config.Settings) -> int:
    from search.evaluate import compare as comparison
    from search.queries import read_queries

    a, b = (registry.current if name == CURRENT else name for name in (args.a, args.b))
    if a == b:
        raise InputError(f"both are {a}: name two models to compare")
    if args.data:
        try:
            judged = comparison.on_judged(
                args.data, args.split, settings, a, b, args.cache, _shown()
            )
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "scipy", "evaluate", "--data") from None
        print(
            json_text(versions.judged_json(judged, a, b), 2)
            if args.json
            else versions.judged_text(judged, a, b)
        )
        return 0
    found = (
        comparison.from_log(args.log, a, b)
        if args.log
        else comparison.over_store(read_queries(args.queries), settings, a, b)
    )
    print(
        json_text(versions.agreement_json(found, a, b), 2)
        if args.json
        else versions.agreement_text(found, a, b)
    )
    return 0


def _shown() -> Shown:
    from rich.console import Console

    from search.evaluate.progress import Shown

    return Shown(sys.stderr, Console(stderr=True, highlight=False))


COMMANDS = {
    "add": add,
    "list": list_versions,
    "show": show,
    "check": check,
    "use": use,
    "rollback": rollback,
    "shadow": shadow,
    "canary": canary,
    "remove": remove,
    "compare": compare,
    "convert": convert,
}


if __name__ == "__main__":
    sys.exit(main())
