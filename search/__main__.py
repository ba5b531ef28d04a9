"""python -m search "how to prevent heart disease": ask the store, rerank, print the answer."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

if (
    __name__ == "__main__"
    and not sys.flags.safe_path
    and sys.path[0] != str(Path(__file__).parents[1])
):
    # `python -m` looks in the current folder first, where a config.py or yaml.py is the user's own.
    del sys.path[0]

import config
from search.errors import InputError
from search.terminal import json_text, run_command, utf8
from search.types import Ranking

NOT_RERANKED = 3
PROG = "python -m search"
EPILOG = """\
examples:
  %(prog)s "how to prevent heart disease"
  %(prog)s --where language=en --where year=2018.. "knee pain after running"
  %(prog)s --compare "can I exercise after a heart attack"
  %(prog)s --json "signs of a stroke" | jq .hits[0].title
  %(prog)s --queries questions.txt --json > answers.jsonl

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
    parser.add_argument("--queries", metavar="FILE", help="one query a line, or JSONL with 'text'")
    parser.add_argument("--limit", type=int, metavar="N", help="documents shown (default 10)")
    parser.add_argument(
        "--candidates", type=int, metavar="K", help="passages reranked (default 50)"
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
    parser.add_argument("--no-rerank", action="store_true", help="give the first stage's order")
    parser.add_argument("--model", metavar="NAME", help="bundled, a folder, or a hub name")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument(
        "--store", metavar="FILE", help="the embedded store (default .search/store.db)"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="for programs; one object per query")
    output.add_argument("--compare", action="store_true", help="both orders side by side")
    parser.add_argument("--full", action="store_true", help="show whole passages")
    config.add_set_flag(parser)
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the command; returns its exit status."""
    return run_command("search", lambda: run(build_parser(prog).parse_args(arguments)))


def run(args: argparse.Namespace) -> int:
    names = ("limit", "candidates", "threshold", "retrieval", "model", "device", "store")
    flags = {name: getattr(args, name) for name in names} | config.parse_set(args.set)
    if args.no_rerank:
        flags["rerank"] = False
    settings = config.load(flags, os.environ)
    queries = read_queries(args)

    # Heavy modules only from here on, so that --help and usage errors are instant.
    from search.filters import parse_filters
    from search.searcher import Searcher

    filters = parse_filters(args.where)
    with Searcher.from_settings(settings) as searcher:
        status = 0
        for query in queries:
            ranking = searcher.search(query, filters=filters)
            show(args, ranking)
            status = NOT_RERANKED if ranking.failed else status
        return status


def read_queries(args: argparse.Namespace) -> Iterator[str]:
    """From the command line, a file, a pipe, or a prompt; InputError when there is none."""
    if args.queries:
        return iter(queries_in_file(args.queries))
    if args.query:
        return iter([" ".join(args.query)])
    if sys.stdin.isatty() and sys.stdout.isatty():
        return prompt()
    raise InputError('no query given: python -m search "your question", or --queries FILE')


def queries_in_file(name: str) -> list[str]:
    try:
        lines = Path(name).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: cannot be read as UTF-8 text: {error}") from None
    queries = [_query_of(line, f"{name}:{i}") for i, line in enumerate(lines, 1) if line.strip()]
    if not queries:
        raise InputError(f"{name}: found no query; expected one a line")
    return queries


def _query_of(line: str, place: str) -> str:
    """A plain line, or the `text` of a JSON object (as in BEIR's queries.jsonl)."""
    if not line.lstrip().startswith("{"):
        return line
    try:
        text = json.loads(line).get("text")
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not valid JSON: {error}") from None
    if not isinstance(text, str):
        raise InputError(f"{place}: found no 'text' in this JSON object; expected the query there")
    return text


def prompt() -> Iterator[str]:
    """Ask until an empty line or Ctrl-D."""
    with contextlib.suppress(ImportError):  # not on every platform; the prompt works without it
        import readline  # noqa: F401  # gives input() line editing and history
    while True:
        try:
            query = input("Search (empty line to leave): ").strip()
        except EOFError:
            print()
            return
        if not query:
            return
        yield query


def show(args: argparse.Namespace, ranking: Ranking) -> None:
    if args.json:
        from search.answer import as_json

        indent = None if args.queries else 2
        print(json_text(as_json(ranking), indent), flush=True)
        return
    from rich.console import Console

    from search import render

    console = Console(highlight=False)
    console.print(render.comparison(ranking) if args.compare else render.answer(ranking, args.full))
    console.print()


if __name__ == "__main__":
    sys.exit(main())
