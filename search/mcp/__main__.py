"""python -m search.mcp: the stored documents as tools of a language model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from search.terminal import ending_at_once, forget_current_folder, run_command, say, utf8

if __name__ == "__main__":
    forget_current_folder()

import config
from search.errors import MissingExtra

if TYPE_CHECKING:
    from ingest.add import Adder
    from search.searcher import Searcher

NAME = "search.mcp"
PROG = f"python -m {NAME}"
EPILOG = """\
A client starts it, and speaks with it by standard input and output. In the client's settings, with
whole paths, as a client may stand anywhere:
  {"mcpServers": {"notes": {"command": "two-stage", "args": ["mcp", "--store", "/me/notes.db"]}}}

examples:
  %(prog)s --store /home/me/notes.db
  %(prog)s --about "notes on medicine" --allow-writes
  %(prog)s --http --port 9001

Over HTTP the address is http://HOST:PORT/mcp. On another --host than this machine's own, every call
needs one of the keys in serve.keys, as those of two-stage serve do: Authorization: Bearer KEY.

exit status: 0 stopped, or the client has gone; 1 an error; 2 wrong usage, or the port is taken.
"""


def build_parser(prog: str = PROG) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Offer the stored documents to a language model (Model Context Protocol): "
        "tools to search and read them and, if allowed, to add some.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--about", type=utf8, default="the user's documents", metavar="WORDS",
        help="what the documents are, for the model to choose by (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-writes", action="store_true", help="offer add_documents, too; makes the store"
    )
    parser.add_argument("--http", action="store_true", help="serve over HTTP, not standard input")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="with --http: address to listen on (default %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=8091, help="with --http: port (default %(default)s)"
    )
    parser.add_argument(
        "--store", metavar="FILE", help="the embedded store (default .search/store.db)"
    )
    config.add_shared_flags(parser)
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the server until it is stopped; returns the exit status."""
    with ending_at_once(NAME):
        return run_command(NAME, lambda: run(build_parser(prog).parse_args(arguments)))


def run(args: argparse.Namespace) -> int:
    settings = config.load({"store": args.store} | config.parse_set(args.set), os.environ)
    if args.http:
        serve_http(args, settings)
        return 0
    from search.mcp.tools import build_server

    with opened(settings, args.allow_writes) as (searcher, adder):
        server = build_server(searcher, args.about, adder)
        if sys.stdin.isatty():
            say(f"{NAME}: waiting for a client on standard input (--help shows how to set one)")
        server.run("stdio")
    return 0


def serve_http(args: argparse.Namespace, settings: config.Settings) -> None:
    from search.mcp.tools import build_server

    try:
        from search.mcp import http
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "uvicorn", "mcp", "the MCP server") from None
    from search.serve.keys import Access
    from search.serve.listening import bind, url

    def may_write(headers: Mapping[str, str] | None) -> bool:
        return access.may_write(access.admit("POST", http.PATH, headers or {}))

    with bind(args.host, args.port) as listener:
        bound = listener.getsockname()
        access = Access.at(bound[0], settings.serve)  # a name such as localhost says too little
        with opened(settings, args.allow_writes) as (searcher, adder):
            server = build_server(searcher, args.about, adder, may_write)
            listener.listen()  # so that who reads the next line may call at once
            print(f"{NAME}: listening on {url(bound)}{http.PATH}", flush=True)
            http.serve(server, listener, access, settings.serve)


@contextmanager
def opened(
    settings: config.Settings, allow_writes: bool
) -> Iterator[tuple[Searcher, Adder | None]]:
    """What the tools work with, its models being loaded; the adder if writes are allowed."""
    from search.searcher import Searcher

    if allow_writes:
        searcher, adder = for_writing(settings)
    else:
        searcher, adder = Searcher.from_settings(settings), None
    with searcher:
        searcher.warm_up()
        yield searcher, adder


def for_writing(settings: config.Settings) -> tuple[Searcher, Adder | None]:
    """Both over one store, which is made if it is not there."""
    from ingest.add import Adder
    from search.embed import load_embedder
    from search.rerank.provider import RerankerProvider
    from search.searcher import Searcher
    from search.store.open import open_store

    embedder = load_embedder(settings)
    store = open_store(settings, create=True, embedder=embedder)
    searcher = Searcher(store, RerankerProvider.of(settings), settings)
    return searcher, Adder(settings, store, embedder.tokenizer)


if __name__ == "__main__":
    sys.exit(main())
