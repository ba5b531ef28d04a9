"""python -m search.serve: search, rerank and embed over HTTP, and the models for any Weaviate."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Ctrl-C during the imports ends it without a traceback; `ending_at_once` comes after them.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from search.terminal import ending_at_once, forget_current_folder, run_command

if __name__ == "__main__":
    forget_current_folder()

import config
from search.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from uvicorn import Server

    from search.serve.service import Service

NAME = "search.serve"
PROG = f"python -m {NAME}"

FINISH_SECONDS = 6
"""What runs may finish in so long; documents that come in are cut off a little earlier."""
STOP_SECONDS = 9.5
"""The process is gone by then, even if a batch of the model is still running."""
MAX_HEAD_BYTES = 256 << 10
"""A request's line and headers: 20,000 characters of a query take 12 bytes each in an address. So
much is kept at most for a connection whose headers have not all come."""
EPILOG = """\
There is a page for people at /, and the API is described at /docs. On this machine alone nobody is
asked for a key; elsewhere there have to be some, each with a name and `read` or `write`:
  SEARCH_SERVE__KEYS="{team: write KEY, page: read KEY}" %(prog)s --host 0.0.0.0

For Weaviate's modules, which send no key, --weaviate opens another port; on the Weaviate server:
  ENABLE_MODULES=text2vec-transformers,reranker-transformers
  TRANSFORMERS_INFERENCE_API=http://HOST:8091
  RERANKER_INFERENCE_API=http://HOST:8091

examples:
  %(prog)s
  %(prog)s --port 9000 --store notes.db --set device=cuda
  %(prog)s --weaviate 0.0.0.0:8091

exit status: 0 stopped; 1 an error; 2 wrong usage, keys are missing, or the port is taken.
"""


def build_parser(prog: str = PROG) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Search, rerank and embed over HTTP, with a page for people.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8090, help="port (default %(default)s)")
    parser.add_argument(
        "--weaviate",
        type=address,
        metavar="HOST:PORT",
        help="listen there, too, for Weaviate's modules alone, without a key: for a network that "
        "only Weaviate is in",
    )
    parser.add_argument("--store", metavar="FILE", help="the embedded store (.search/store.db)")
    parser.add_argument("--no-rerank", action="store_true", help="serve without a cross-encoder")
    config.add_shared_flags(parser)
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the service until it is stopped; returns the exit status."""
    with ending_at_once(NAME):
        return run_command(NAME, lambda: start(build_parser(prog).parse_args(arguments)))


def address(text: str) -> tuple[str, int]:
    """HOST:PORT, also [::1]:PORT."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"found {text!r}, expected HOST:PORT")
    return host.strip("[]"), int(port)


def start(args: argparse.Namespace) -> int:
    flags: dict[str, object] = {"store": args.store} | config.parse_set(args.set)
    if args.no_rerank:
        flags["rerank"] = False
    if args.weaviate is not None and args.weaviate[1] == args.port:
        raise InputError(f"--weaviate needs a port of its own, not {args.port}")
    return run(config.load(flags, os.environ), args.host, args.port, args.weaviate)


def run(
    settings: config.Settings, host: str, port: int, weaviate: tuple[str, int] | None = None
) -> int:
    try:
        import uvicorn

        from search.serve.app import build_app
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "fastapi", "serve", "the service") from None
    from search.serve.keys import Access
    from search.serve.listening import bind, url
    from search.serve.logs import prepare_logs
    from search.serve.service import Service

    with ExitStack() as stack:
        asked = [(host, port), *([weaviate] if weaviate else [])]
        listeners = [stack.enter_context(bind(*at)) for at in asked]
        addresses = [listener.getsockname() for listener in listeners]
        weaviate_port = addresses[1][1] if weaviate else None
        access = Access.at(addresses[0][0], settings.serve, weaviate_port)
        prepare_logs(sys.stderr)
        service = Service.load(settings, access)
        print(f"search.serve: {describe(service.models.meta())}", flush=True)
        print(f"search.serve: listening on {url(addresses[0])} (Ctrl-C to stop)", flush=True)
        if weaviate:
            print(f"search.serve: and for Weaviate's modules on {url(addresses[1])}", flush=True)
        server = uvicorn.Server(
            uvicorn.Config(
                build_app(service),
                log_config=None,
                access_log=False,
                server_header=False,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                timeout_graceful_shutdown=FINISH_SECONDS,
            )
        )
        threading.Thread(target=stop_in_time, args=(server, service), daemon=True).start()
        server.run(sockets=listeners)
    return 0


def stop_in_time(server: Server, service: Service) -> None:
    """When the server is to stop: see to it that what runs ends, and that the process does."""
    while not server.should_exit:
        time.sleep(0.1)
    time.sleep(FINISH_SECONDS - 2)
    service.stop()
    time.sleep(STOP_SECONDS - FINISH_SECONDS + 2)
    print("search.serve: stopped in the middle of a batch", file=sys.stderr, flush=True)
    os._exit(0)  # threads that wait for a model cannot be ended otherwise


def describe(meta: Mapping[str, Mapping[str, object] | None]) -> str:
    embedding, reranker = meta["embedding"] or {}, meta["reranker"]
    line = f"embedding {embedding['name']} ({embedding['dimensions']} dimensions)"
    return f"{line}, reranker {reranker['name'] if reranker else 'none'}"


if __name__ == "__main__":
    sys.exit(main())
