"""python -m ingest PATH…: load documents into the store that `python -m search` asks."""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if (
    __name__ == "__main__"
    and not sys.flags.safe_path
    and sys.path[0] != str(Path(__file__).parents[1])
):
    # `python -m` looks in the current folder first, where a config.py or yaml.py is the user's own.
    del sys.path[0]

import config
from ingest.read.source import Options, check_encoding
from ingest.read.walk import FORMATS, check_inputs, total_bytes
from ingest.rejects import check_rejects
from search.errors import InputError
from search.terminal import INTERRUPTED, json_text, printable, run_command, say

if TYPE_CHECKING:
    from ingest.progress import Progress
    from ingest.run import Job
    from ingest.summary import Summary
    from search.types import Fault

PROG = "python -m ingest"
EPILOG = """\
examples:
  %(prog)s data/medical.json
  %(prog)s ~/notes                           a folder: every readable file below it
  %(prog)s corpus.jsonl.gz more.csv --text-field abstract
  zcat dump.jsonl.gz | %(prog)s -            JSON Lines on standard input
  %(prog)s docs --prune --dry-run            what would change, removals included
  %(prog)s docs --watch                      go on ingesting what changes, until Ctrl-C
  %(prog)s --verify                          is the store in order?

Every record ends as stored, unchanged (same content: not embedded again) or rejected. Rejected
ones are also written to a file: mend them there and ingest that file. Stop a run at any moment;
the same command goes on from there.

Records without an id get a hash of their content; a file that is one document (text, Markdown,
HTML, PDF, DOCX) is known by its whole path. All fields besides id, title and text become metadata;
nested ones by dotted names (author.name).

exit status: 0 all well; 1 records rejected, or the store is not what it should be; 2 wrong usage;
130 interrupted.
"""


def build_parser(prog: str = PROG) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Load documents into the store: JSON, JSONL, CSV, TSV, Markdown, HTML, PDF, "
        "DOCX, and any other text; folders of these, BEIR corpora; gzip of the text formats.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH",
        help="a file, a folder, or - (stdin; all that ever comes by it counts as one file, so that "
        "a record replaces an earlier one of its id)",
    )  # fmt: skip
    fields = parser.add_argument_group("fields (default: found by their usual names)")
    fields.add_argument("--id-field", metavar="NAME", help="the field that holds the id")
    fields.add_argument("--title-field", metavar="NAME", help="… the title")
    fields.add_argument("--text-field", metavar="NAME", help="… the text; dots reach into objects")
    reading = parser.add_argument_group("reading")
    reading.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="GLOB",
        help="of folders, read only files that match, e.g. '*.rst' or 'docs/*'; may be repeated",
    )
    reading.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="of folders, leave out files and folders that match, e.g. node_modules",
    )
    reading.add_argument(
        "--as", dest="format", metavar="FORMAT", choices=FORMATS,
        help="read every file, and standard input, as one of: %(choices)s",
    )  # fmt: skip
    reading.add_argument("--encoding", metavar="NAME", help="default UTF-8, or UTF-16 by its mark")
    reading.add_argument(
        "--max-record-mb", type=float, default=32, metavar="N", help="largest record (default 32)"
    )
    reading.add_argument(
        "--rejects", type=Path, default=Path("rejects.jsonl"), metavar="FILE",
        help="where rejected records go (default rejects.jsonl; an older one becomes FILE.old)",
    )  # fmt: skip
    reading.add_argument(
        "--allow-rejects", action="store_true", help="exit with 0 although records were rejected"
    )
    what = parser.add_argument_group("what to do")
    what.add_argument(
        "--prune", action="store_true",
        help="also remove documents that once came from these PATHs and are no longer there; those "
        "stay whose file is there, but empty, without records, or left out by --include and "
        "--exclude; nothing is removed when a file could not be read to its end or nothing was "
        "found, and after rejections only with --allow-rejects",
    )  # fmt: skip
    what.add_argument(
        "--force", action="store_true",
        help="let --prune remove more than a fifth of what came from these PATHs (of fewer than 50 "
        "documents: more than ten, or more than half), or all that came from one of them",
    )  # fmt: skip
    what.add_argument(
        "--take-over", action="store_true",
        help="let records replace those that came from another file under the same id",
    )  # fmt: skip
    what.add_argument(
        "--watch", action="store_true",
        help="go on: ingest what changes below the PATHs and remove what vanishes, until Ctrl-C",
    )  # fmt: skip
    what.add_argument("--dry-run", action="store_true", help="only report what would change")
    what.add_argument(
        "--verify", action="store_true", help="look for damage in the store; changes nothing"
    )
    what.add_argument(
        "--repair", action="store_true", help="mend what --verify finds, as far as that can be done"
    )
    parser.add_argument("--store", metavar="FILE", help="the embedded store (.search/store.db)")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress; rejections still show")
    config.add_shared_flags(parser)
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the command; returns its exit status."""
    return run_command("ingest", lambda: run(build_parser(prog).parse_args(arguments)))


def run(args: argparse.Namespace) -> int:
    settings = config.load({"store": args.store} | config.parse_set(args.set), os.environ)
    if args.paths and (args.verify or args.repair):
        raise InputError(
            f"--{'repair' if args.repair else 'verify'} is for the whole store and takes no PATH; "
            f"found {args.paths[0]}: leave it out, or ingest it in a run of its own"
        )
    if args.repair:  # which verifies first, so both flags together ask for this
        return repair(args, settings)
    return verify(args, settings) if args.verify else ingest(args, settings)


def ingest(args: argparse.Namespace, settings: config.Settings) -> int:
    check_usage(args)
    options = Options(
        args.encoding,
        args.format,
        args.include,
        [*args.exclude, *store_files(settings.store)],
        max_record_bytes=int(args.max_record_mb * (1 << 20)),
        stdin=sys.stdin.buffer,
    )
    check_inputs(args.paths, options)
    check_rejects(args.rejects, args.paths)
    # Heavy modules only from here on, so that --help and usage errors are instant.
    from ingest import run
    from ingest.fields import FieldNames
    from ingest.progress import progress

    options.meter.total = total_bytes(args.paths, options)
    job = run.Job(
        inputs=args.paths,
        settings=settings,
        options=options,
        names=FieldNames(args.id_field, args.title_field, args.text_field),
        rejects=args.rejects,
        dry_run=args.dry_run,
        prune=args.prune,
        prune_after_rejects=args.allow_rejects,
        force=args.force,
        take_over=args.take_over,
    )

    def shown() -> AbstractContextManager[Progress]:
        return progress(sys.stderr, options.meter, args.quiet)

    if args.watch:
        return watch(args, job, shown)
    try:
        with shown() as bar:
            result = run.ingest(job, bar)
    except run.Interrupted as stop:
        done = stop.counts.stored + stop.counts.unchanged
        say(
            f"ingest: interrupted; {done:,} documents are in the store, "
            "and the same command goes on from there"
        )
        return INTERRUPTED
    report(args, result)
    return int(bool(result.problem or (result.counts.rejected and not args.allow_rejects)))


def store_files(store: Path) -> list[str]:
    """Patterns for the files beside the store, which are empty now and then and look like text.

    Not for the store itself, which never does: a folder may have its name.
    """
    ends = ("-wal", "-shm", "-ingest", "-ingest-wal", "-ingest-shm")
    return [glob.escape(store.name) + end for end in ends]


def watch(
    args: argparse.Namespace, job: Job, shown: Callable[[], AbstractContextManager[Progress]]
) -> int:
    from ingest.run import Interrupted
    from ingest.watch import watch

    try:
        watch(job, shown, lambda result: report(args, result), lambda text: say(f"ingest: {text}"))
    except (KeyboardInterrupt, Interrupted):
        say("ingest: stopped watching; what is stored stays")
    return 0


def report(args: argparse.Namespace, result: Summary) -> None:
    from ingest import summary

    if args.json:
        print(json_text(summary.as_json(result), indent=2), flush=True)
    else:
        print(printable(summary.as_text(result), keep="\n"), flush=True)
    if result.problem:
        say(f"ingest: {result.problem}")


def check_usage(args: argparse.Namespace) -> None:
    """InputError for flags that cannot mean anything."""
    if not args.paths:
        raise InputError("nothing to ingest: two-stage ingest PATH… (a file, a folder, or -)")
    if not 0 < args.max_record_mb < 1_000_000:
        raise InputError(
            f"--max-record-mb {args.max_record_mb:g}: expected more than 0, and less than a million"
        )
    if args.encoding is not None:
        check_encoding(args.encoding)


def verify(args: argparse.Namespace, settings: config.Settings) -> int:
    from ingest import run

    documents, faults = run.verify(settings)
    if args.json:
        found = {"documents": documents, "faults": [asdict(fault) for fault in faults]}
        print(json_text(found, indent=2))
    elif faults:
        show_faults(faults)
        print("run this with --repair; then ingest the same input again")
    else:
        print(f"the store is in order: {documents:,} documents")
    return int(bool(faults))


def repair(args: argparse.Namespace, settings: config.Settings) -> int:
    from ingest import run

    before, left = run.repair(settings)
    if args.json:
        found = {"faults": [asdict(f) for f in before], "left": [asdict(f) for f in left]}
        print(json_text(found, indent=2))
    elif left:
        show_faults(left)
        if all(fault.ids for fault in left):
            print("the rest is mended; ingest the same input again for these")
        else:  # there is no document to be stored again
            print("no repair mends this: restore a copy of the store, or make it anew")
    else:
        print("all is mended" if before else "there was nothing to mend")
    return int(bool(left))


def show_faults(faults: Sequence[Fault]) -> None:
    from ingest.summary import fault_lines

    print("\n".join(map(printable, fault_lines(faults))))


if __name__ == "__main__":
    sys.exit(main())
