"""What all commands share: text that is safe to show, and how a command ends."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from search.errors import ConfigError, SearchError

INTERRUPTED = 130
# Control characters (escape sequences among them), invisible changes of writing direction, line
# ends that only Unicode has, and halves of characters, which stand for bytes that are not UTF-8.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, keep: str = "") -> str:
    r"""`text` as one line that cannot steer a terminal: ESC is shown as \x1b.

    `keep` names characters to leave, such as "\n" where several lines are meant.
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_text(value: Any, indent: int | None = None) -> str:
    r"""JSON in which everything that is unsafe to show, or that the output cannot spell, is \u…."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = json.dumps(value, ensure_ascii=not encoding.lower().startswith("utf"), indent=indent)
    return _UNSAFE.sub(lambda c: "\n" if c[0] == "\n" else f"\\u{ord(c[0]):04x}", text)


def utf8(text: str) -> str:
    """An argparse type: text, whatever the locale, and not bytes that no text has."""
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        raise argparse.ArgumentTypeError(f"'{printable(text)}' is not valid UTF-8") from None


def forget_current_folder() -> None:
    """For a program's own start: `python -m` looks in the current folder first, where a config.py
    or yaml.py is the user's own."""
    if not sys.flags.safe_path and sys.path[0] != str(Path(__file__).parents[1]):
        del sys.path[0]


def program_version() -> str:
    """Of the installed package; "unknown" in a clone that was never installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("two-stage-search")
    except PackageNotFoundError:
        return "unknown"


def say(message: str) -> None:
    """A message on standard error, which may have several lines."""
    print(printable(message, keep="\n"), file=sys.stderr, flush=True)  # noqa: T201


class _Details(argparse.Action):
    """Notes that it was given: errors are shown where the arguments are no longer known."""

    wanted = False

    def __call__(self, *_: Any) -> None:
        _Details.wanted = True


def add_details_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--details`, which `run_command` heeds."""
    parser.add_argument(
        "--details", nargs=0, action=_Details, help="show what the sentence of an error leaves out"
    )


def _details(error: SearchError) -> str:
    """Its notes as lines of their own, or how to see them."""
    notes = getattr(error, "__notes__", [])
    if notes and not _Details.wanted:
        return f" (--details lists all {len(notes):,} points)"
    return "".join(f"\n  {note}" for note in notes)


def run_command(
    name: str,
    body: Callable[[], int],
    interrupted: str = "interrupted",
) -> int:
    """Run a command; its exit status. What a user can cause or meet ends as one message.

    A reader that has seen enough (`| head -1`) is no error; output that cannot be written is.
    """
    _prepare_streams()
    _Details.wanted = False
    if isinstance(logging.lastResort, logging.Handler):
        logging.lastResort.setFormatter(_Printable())
    status = 0
    try:
        try:
            _require_own_config()
            status = body()
        except SearchError as error:
            say(f"{name}: {error}{_details(error)}")
            status = error.exit_status
        except KeyboardInterrupt:
            say(f"{name}: {interrupted}")
            status = INTERRUPTED
        except SystemExit as stop:  # argparse, which has said why
            status = stop.code if isinstance(stop.code, int) else 1
        sys.stdout.flush()
    except _OutputError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, BrokenPipeError):
            say(f"{name}: the output cannot be written: {cause.strerror}")
            status = status or 1
    return status


@contextmanager
def ending_at_once(name: str) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the process without waiting for threads that cannot be stopped.

    Those of a model that is loaded may abort where the interpreter ends before them, and one waits
    for a client's next line. The first process of a container has no default for SIGTERM, and would
    be killed in the end. While it serves HTTP, uvicorn has handlers of its own, and raises the
    signal again when all has been answered.
    """

    def end(*_: object) -> None:
        with suppress(OSError):
            os.write(2, f"{name}: stopped\n".encode())
        os._exit(0)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_own_config() -> None:
    """Its name is a common one. Raises ConfigError."""
    found = getattr(sys.modules.get("config"), "__file__", None)
    expected = Path(__file__).parents[1] / "config" / "__init__.py"
    if found is not None and Path(found) != expected:
        raise ConfigError(
            f"found another module called config ({found}), expected {expected}: "
            "rename it, or take its folder out of PYTHONPATH"
        )


class _Printable(logging.Formatter):
    """Log messages as they may be shown; they have the names of files in them."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), keep="\n")


class _OutputError(Exception):
    """Standard output cannot be written; the cause says why."""


class _Output(io.FileIO):
    """A standard stream that fails once, in a way that cannot be taken for another file's.

    What follows is dropped, so that nothing is left to fail when the interpreter ends.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._failed = False

    def write(self, data: Any) -> int:
        if not self._failed:
            try:
                return super().write(data)
            except OSError as error:
                self._failed = True
                if self.fileno() == 1:  # standard error has nowhere to report to
                    raise _OutputError from error
        return len(data)


def _prepare_streams() -> None:
    """Streams that can show any text, even in ASCII; and ones where a shell closed them (`>&-`).

    A descriptor that is free would be given to the next file that is opened: the store.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # so that reading or writing it fails, as it should
            os.open(os.devnull, os.O_RDONLY if descriptor else os.O_WRONLY)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None or _is_file(sys.stdout):
        sys.stdout = _wrapped(1, sys.stdout)
    if sys.stderr is None or _is_file(sys.stderr):
        sys.stderr = _wrapped(2, sys.stderr)


def _is_file(stream: Any) -> bool:
    """Whether it is the interpreter's own stream; not a test's, nor a Windows console."""
    buffer = getattr(stream, "buffer", None)  # which PYTHONUNBUFFERED leaves out
    own = stream in (sys.__stdout__, sys.__stderr__)
    return own and type(getattr(buffer, "raw", buffer)) is io.FileIO


def _wrapped(descriptor: int, stream: Any) -> io.TextIOWrapper:
    output = _Output(descriptor)
    unbuffered = getattr(stream, "write_through", False)
    return io.TextIOWrapper(
        cast(io.BufferedWriter, output) if unbuffered else io.BufferedWriter(output),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="backslashreplace",
        line_buffering=descriptor == 2 or output.isatty(),
        write_through=unbuffered,
    )
