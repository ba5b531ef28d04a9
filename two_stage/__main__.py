"""two-stage COMMAND: everything this project does, from any folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from importlib import import_module
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
from search.errors import InputError
from search.terminal import json_text, printable, program_version, run_command, utf8

if TYPE_CHECKING:
    from search.store import Store

PROG = "two-stage"
# Commands with modules of their own, which also run as `python -m`: where, and what they do.
DELEGATED = {
    "ingest": ("ingest.__main__", "load documents into the store"),
    "search": ("search.__main__", "ask a question"),
    "evaluate": ("search.evaluate.__main__", "measure both stages on judged queries"),
    "doctor": ("search.doctor.__main__", "what is there, what is missing, and whether it fits"),
    "models": ("search.models.__main__", "rerankers as versions: check, compare, use, roll back"),
    "mcp": ("search.mcp.__main__", "tools of a language model, over the Model Context Protocol"),
    "serve": ("search.serve.__main__", "the page, the API, and the models for Weaviate"),
}
EPILOG = """\
examples:
  %(prog)s ingest ~/notes
  %(prog)s search "can I exercise after a heart attack"
  %(prog)s list | grep diabetes
  %(prog)s show heart-disease-prevention
  %(prog)s delete heart-disease-prevention --yes
  %(prog)s export > documents.jsonl
  %(prog)s config
  %(prog)s completion bash > ~/.local/share/bash-completion/completions/two-stage

Every command has --help. exit status: 0 all well; 1 an error; 2 wrong usage, or no such document;
130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in DELEGATED:
        command: int = import_module(DELEGATED[given[0]][0]).main(given[1:], f"{PROG} {given[0]}")
        return command
    return run_command(PROG, lambda: run(build_parser().parse_args(given)))


def build_parser(complete: bool = False) -> argparse.ArgumentParser:
    """`complete`: with the flags of the delegated commands, too, for shell completion."""
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Search your own documents by meaning, in two stages.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {program_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, purpose) in DELEGATED.items():
        flags = [_parser_of(module, f"{PROG} {name}")] if complete else []
        commands.add_parser(name, help=purpose, parents=flags, add_help=False)

    def add(name: str, purpose: str, *, json: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument(
            "--store", metavar="FILE", help="the embedded store (default .search/store.db)"
        )
        config.add_shared_flags(command)
        if json:
            command.add_argument("--json", action="store_true", help="for programs")
        return command

    add("list", "every document: id, title, source")
    add("show", "one document, with its passages").add_argument(
        "id", type=utf8, help="its id, or the path of a file that is one document"
    )
    delete = add("delete", "remove documents from the store", json=False)
    delete.add_argument(
        "ids", type=utf8, nargs="+", metavar="ID",
        help="an id, or the path of a file or folder: all documents that came from there",
    )  # fmt: skip
    delete.add_argument("--yes", action="store_true", help="do not ask")
    add("stats", "what the store holds")
    add(
        "export",
        "every document as JSON Lines, which ingest reads back (markup escaped as HTML has it)",
        json=False,
    )
    add("config", "every setting, its value, and where that comes from")
    completion = commands.add_parser("completion", help="a script that completes two-stage")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="for which shell")
    return parser


def _parser_of(module: str, prog: str) -> argparse.ArgumentParser:
    module = "search.evaluate.arguments" if "evaluate" in module else module
    parser = import_module(module).build_parser(prog)
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def run(args: argparse.Namespace) -> int:
    """One of the commands that are not delegated."""
    if args.command == "completion":
        return completion(args.shell)
    loaded = config.load_all({"store": args.store} | config.parse_set(args.set), os.environ)
    if args.command == "config":
        return show_settings(args, loaded)
    if args.command == "delete":
        return delete(args, loaded.settings)
    from search.store.open import open_store

    with closing(open_store(loaded.settings)) as store:
        return READING[args.command](args, store)


def list_documents(args: argparse.Namespace, store: Store) -> int:
    from two_stage import documents

    for listed in store.documents():
        print(json_text(documents.listed_json(listed)) if args.json else documents.line(listed))
    return 0


def show(args: argparse.Namespace, store: Store) -> int:
    from search.answer import document_json
    from two_stage import documents

    document = documents.find(store, args.id)
    if args.json:
        print(json_text(document_json(document), indent=2))
    else:
        print(documents.text(document))
    return 0


def export(args: argparse.Namespace, store: Store) -> int:
    from two_stage import documents

    for record in documents.exported(store):
        print(json_text(record))
    return 0


def stats(args: argparse.Namespace, store: Store) -> int:
    from two_stage import documents

    info, fields = store.describe(), store.fields()
    if args.json:
        print(json_text(documents.statistics_json(info, fields), indent=2))
    else:
        print(documents.statistics(info, fields))
    return 0


READING = {"list": list_documents, "show": show, "export": export, "stats": stats}


def delete(args: argparse.Namespace, settings: config.Settings) -> int:
    from search.store.lock import only_writer
    from search.store.open import open_store
    from two_stage import documents

    with closing(open_store(settings)) as store:
        found = dict(documents.chosen_by(store, name, certain=args.yes) for name in args.ids)
    if not args.yes and not confirmed(list(found)):
        print("nothing was removed")
        return 1
    ids = {document_id for ids in found.values() for document_id in ids}
    with only_writer(settings), closing(open_store(settings, create=True)) as store:
        print(f"removed: {store.delete(ids):,}")
    return 0


def confirmed(lines: Sequence[str]) -> bool:
    """Whether a person at a terminal says yes. Raises InputError where there is none to ask."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError(
            "delete asks before it removes anything, and there is no terminal: add --yes"
        )
    print("\n".join(lines))
    try:
        return input("Remove from the store? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def show_settings(args: argparse.Namespace, loaded: config.Loaded) -> int:
    """As YAML that search.yaml could hold, each with its origin; or as JSON."""
    shown = {name: config.plain(loaded, name) for name in loaded.values}
    if args.json:
        both = {name: {"value": shown[name], "from": loaded.origins[name]} for name in shown}
        print(json_text(both, indent=2))
        return 0
    section = ""
    for name, value in shown.items():
        *above, leaf = name.split(".")
        if above and above[0] != section:
            section = above[0]
            print(f"{section}:")
        setting = f"{'  ' if above else ''}{leaf}: {json_text(value)}"
        print(f"{setting:<44} # {printable(loaded.origins[name])}")
    return 0


def completion(shell: str) -> int:
    import shtab

    print(shtab.complete(build_parser(complete=True), shell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
