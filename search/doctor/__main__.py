"""python -m search.doctor: what is there, what is missing, and whether it fits together."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.terminal import forget_current_folder, json_text, printable, run_command, utf8

if __name__ == "__main__":
    forget_current_folder()

import config
from search.errors import SearchError

if TYPE_CHECKING:
    from search.doctor import Finding

PROG = "python -m search.doctor"
EPILOG = """\
examples:
  %(prog)s
  %(prog)s --profile multilingual
  %(prog)s --set weaviate_url=http://localhost:8080 --json

Nothing is loaded, downloaded or changed. exit status: 0 all well, or only missing what is made or
downloaded when it is needed; 1 something is broken.
"""


def build_parser(prog: str = PROG) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Say what is there, what is missing, and whether it fits together.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--profile", type=utf8, metavar="NAME", help="english, multilingual or weaviate"
    )
    parser.add_argument(
        "--store", metavar="FILE", help="the embedded store (default .search/store.db)"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    config.add_shared_flags(parser)
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the command; returns its exit status."""
    return run_command("doctor", lambda: run(build_parser(prog).parse_args(arguments)))


def run(args: argparse.Namespace) -> int:
    # Before the hub's library is imported, which reads it once.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from search.doctor import Examination, Finding, is_well

    flags = {"profile": args.profile, "store": args.store} | config.parse_set(args.set)
    findings: list[Finding] = []
    try:
        loaded = config.load_all(flags, os.environ)
    except SearchError as error:
        findings.append(Finding("settings", "broken", str(error)))
    else:
        findings.append(Finding("settings", "ok", _settings(loaded)))
        findings += Examination(loaded.settings).findings()
    if args.json:
        keys = ("about", "status", "detail", "fix")
        found = [{key: getattr(finding, key) for key in keys} for finding in findings]
        print(json_text({"well": is_well(findings), "findings": found}, 2))
    else:
        print("\n".join(_lines(findings)))
    return 0 if is_well(findings) else 1


def _settings(loaded: config.Loaded) -> str:
    profile = f"profile {loaded.settings.profile}"
    origins = sorted({*loaded.origins.values()} - {"default", "flags", profile})
    more = f", and settings from {', '.join(origins)}" if origins else ""
    return f"{profile}{more}"


def _lines(findings: Sequence[Finding]) -> list[str]:
    width = max(len(finding.about) for finding in findings)
    lines = []
    for finding in findings:
        name = f"{finding.status:<8}{finding.about:<{width}}  "
        lines.append(name + printable(finding.detail, keep="\n"))
        if finding.fix:
            lines.append(f"{'':<{len(name)}}→ {printable(finding.fix)}")
    counts = {s: sum(f.status == s for f in findings) for s in ("broken", "missing")}
    if counts["broken"]:
        lines.append(f"{counts['broken']} broken")
    elif counts["missing"]:
        lines.append("well; what is missing is made or downloaded when it is first needed")
    else:
        lines.append("all well")
    return lines


if __name__ == "__main__":
    sys.exit(main())
