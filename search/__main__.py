"""python -m search "how to prevent heart disease": ask the store, rerank, print the answer."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from search.terminal import forget_current_folder, json_text, printable, run_command, utf8

if __name__ == "__main__":
    forget_current_folder()

import config
from search.errors import InputError
from search.queries import read_queries
from search.types import Condition, Ranking

if TYPE_CHECKING:
    from search.searcher import Searcher

NOT_RERANKED = 3
PROG = "python -m search"
# Flags of the same name as a setting.
SETTINGS = (
    *("limit", "candidates", "threshold", "retrieval", "alpha", "deadline_ms", "highlight"),
    *("model", "device", "store"),
)
EPILOG = """\
examples:
  %(prog)s "how to prevent heart disease"
  %(prog)s --where language=en --where year=2018.. "knee pain after running"
  %(prog)s --compare "can I exercise after a heart attack"
  %(prog)s --json "signs of a stroke" | jq .hits[0].title
  %(prog)s --queries questions.txt --json > answers.jsonl
  %(prog)s --open 1 "how to prevent heart disease"
  %(prog)s                                        a prompt; :help there lists its commands

exit status: 0 answered; 1 an error; 2 wrong usage; 3 answered in the first stage's order,
because reranking failed (the answer says why); 130 interrupted.
"""


def build_parser(prog: str = PROG) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Search ingested documents by meaning: retrieve candidates, then rerank them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "query", nargs="*", type=utf8, help="the question; none on a terminal: a prompt"
    )
    parser.add_argument(
        "--queries", metavar="FILE", help="one query a line, or JSONL with 'text'; - is stdin"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="documents shown (default 10)")
    parser.add_argument(
        "--candidates", type=int, metavar="K", help="passages reranked (default 20)"
    )
    parser.add_argument("--threshold", type=float, metavar="P", help="leave out hits below P (0–1)")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        type=utf8,
        metavar="FIELD=VALUE",
        help="filter on metadata; also != < <= > >= and ranges: year=2018..2022; repeatable",
    )
    parser.add_argument(
        "--retrieval", choices=("hybrid", "near_text", "bm25"), help="first stage (default hybrid)"
    )
    parser.add_argument(
        "--alpha", type=float, metavar="W", help="hybrid: weight of the vectors (0–1; default 0.5)"
    )
    parser.add_argument(
        "--deadline", type=float, metavar="MS", dest="deadline_ms",
        help="milliseconds after which the order found so far is given",
    )  # fmt: skip
    parser.add_argument(
        "--highlight", action=argparse.BooleanOptionalAction, help="mark the deciding sentence"
    )
    parser.add_argument("--no-rerank", action="store_true", help="give the first stage's order")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="bundled, current, a version, a folder, or a hub name",
    )
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument(
        "--store", metavar="FILE", help="the embedded store (default .search/store.db)"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="for programs; one object per query")
    output.add_argument("--compare", action="store_true", help="both orders side by side")
    parser.add_argument("--full", action="store_true", help="show whole passages")
    parser.add_argument(
        "--passages", action="store_true", help="show the other passages of each document, too"
    )
    parser.add_argument(
        "--open", type=int, metavar="N",
        help="then open the file that hit N came from ($VISUAL, $EDITOR, $PAGER or a viewer)",
    )  # fmt: skip
    config.add_shared_flags(parser)
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the command; returns its exit status."""
    return run_command("search", lambda: run(build_parser(prog).parse_args(arguments)))


def run(args: argparse.Namespace) -> int:
    flags = {name: getattr(args, name) for name in SETTINGS} | config.parse_set(args.set)
    if args.no_rerank:
        flags["rerank"] = False
    settings = config.load(flags, os.environ)
    queries = queries_of(args)

    # Heavy modules only from here on, so that --help and usage errors are instant.
    from search.filters import parse_filters
    from search.searcher import Searcher

    filters = parse_filters(args.where)
    with Searcher.from_settings(settings) as searcher:
        if queries is None:
            prompt(args, searcher, filters)
            return 0
        status = 0
        for query in queries:
            ranking = searcher.search(query, filters=filters)
            show(args, ranking, args.passages)
            if args.open is not None:
                open_hit(ranking, args.open)
            status = NOT_RERANKED if ranking.failed else status
        return status


def queries_of(args: argparse.Namespace) -> Sequence[str] | None:
    """From the command line or a file; None: from a prompt. InputError for neither or both."""
    if args.queries and args.query:
        raise InputError(f"found a query and --queries {args.queries}: give one of them, not both")
    if args.queries:
        return read_queries(Path(args.queries))
    if args.query:
        return [" ".join(args.query)]
    if sys.stdin.isatty() and sys.stdout.isatty():
        return None
    raise InputError('no query given: two-stage search "your question", or --queries FILE')


def prompt(args: argparse.Namespace, searcher: Searcher, filters: tuple[Condition, ...]) -> None:
    """Questions from a terminal; the models load while the first one is typed."""
    from search.prompt import Prompt, history

    def ask(query: str, session: Prompt) -> Ranking:
        ranking = searcher.search(query, filters=session.filters, limit=session.limit)
        show(args, ranking, session.passages)
        return ranking

    warm_up(searcher)
    session = Prompt(ask, open_hit, lambda text: print(printable(text, keep="\n")))
    session.where, session.filters, session.passages = list(args.where), filters, args.passages
    state = Path(os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser())
    print(":help lists the commands; an empty line leaves")
    with history(state / "two-stage" / "history" if searcher.settings.history else None):
        session.run()


def warm_up(searcher: Searcher) -> None:
    """Load both models beside other work; what fails will fail again, and say so, in a search."""
    searcher.warm_up()

    def embed() -> None:
        with contextlib.suppress(Exception):
            searcher.store.retrieve("warm up", 1)

    Thread(target=embed, daemon=True).start()


def open_hit(ranking: Ranking, number: int) -> None:
    from search import opening

    if not 1 <= number <= len(ranking.hits):
        raise InputError(f"there is no hit {number}: the answer has {len(ranking.hits)}")
    opening.open_hit(ranking.hits[number - 1], os.environ)


def show(args: argparse.Namespace, ranking: Ranking, passages: bool) -> None:
    if args.json:
        from search.answer import as_json

        indent = None if args.queries else 2
        print(json_text(as_json(ranking, passages), indent), flush=True)
        return
    from rich.console import Console

    from search import render

    answer = render.answer(ranking, args.full, passages)
    console = Console(highlight=False)
    console.print(render.comparison(ranking) if args.compare else answer)
    console.print()


if __name__ == "__main__":
    sys.exit(main())
