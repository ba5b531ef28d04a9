"""python -m search.serve: one process that is the vectorizer and the reranker of any Weaviate."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

if (
    __name__ == "__main__"
    and not sys.flags.safe_path
    and sys.path[0] != str(Path(__file__).parents[2])
):
    # `python -m` looks in the current folder first, where a config.py or yaml.py is the user's own.
    del sys.path[0]

import config
from search.errors import InputError, MissingExtra
from search.terminal import run_command

PROG = "python -m search.serve"

STOP_SECONDS = 10  # for requests under way; the models get as long again for their batch
EPILOG = """\
Weaviate calls it with these settings (on the server):
  ENABLE_MODULES=text2vec-transformers,reranker-transformers
  TRANSFORMERS_INFERENCE_API=http://HOST:8090
  RERANKER_INFERENCE_API=http://HOST:8090

examples:
  %(prog)s
  %(prog)s --host 0.0.0.0 --port 9000 --set device=cuda
  %(prog)s --no-rerank

exit status: 0 stopped; 1 an error; 2 wrong usage, or the port is taken.
"""


def build_parser(prog: str = PROG) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Serve the embedding model and the cross-encoder to Weaviate's modules.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8090, help="port (default %(default)s)")
    parser.add_argument("--no-rerank", action="store_true", help="serve the embedding model only")
    config.add_shared_flags(parser)
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the service until it is stopped; returns the exit status."""
    return run_command(
        "search.serve",
        lambda: start(build_parser(prog).parse_args(arguments)),
        interrupted="stopped",
        interrupted_status=0,
    )


def start(args: argparse.Namespace) -> int:
    flags: dict[str, object] = dict(config.parse_set(args.set))
    if args.no_rerank:
        flags["rerank"] = False
    return run(config.load(flags, os.environ), args.host, args.port)


def run(settings: config.Settings, host: str, port: int) -> int:
    try:
        import uvicorn

        from search.serve.app import build_app
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "fastapi", "serve", "the service") from None
    from search.serve.service import Service

    listener = bind(host, port)
    service = Service.load(settings)
    print(f"search.serve: {describe(service.models.meta())}", flush=True)
    print(f"search.serve: listening on http://{host}:{port} (Ctrl-C to stop)", flush=True)
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(service), log_level="warning", timeout_graceful_shutdown=STOP_SECONDS
        )
    )
    server.run(sockets=[listener])
    return 0


def bind(host: str, port: int) -> socket.socket:
    """Take the port before the models are loaded, but answer nobody yet: not ready is refused."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(
            f"cannot listen on {host}:{port} ({error}); choose another --host or --port"
        ) from None
    return listener


def describe(meta: Mapping[str, Mapping[str, object] | None]) -> str:
    embedding, reranker = meta["embedding"] or {}, meta["reranker"]
    line = f"embedding {embedding['name']} ({embedding['dimensions']} dimensions)"
    return f"{line}, reranker {reranker['name'] if reranker else 'none'}"


if __name__ == "__main__":
    sys.exit(main())
