"""The prompt: questions and commands from a terminal, one a line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from search.errors import InputError, SearchError
from search.filters import parse_filters
from search.types import Condition, Ranking

PROMPT = "Search: "
HISTORY_LINES = 1000
HELP = """\
a question       search for it
:limit N         documents shown
:where F=V       only documents that pass this filter, and those named before; alone: no filter
:passages        show the other passages of each document, too, or no longer
:open N          open the file that hit N came from
:help            this list
Ctrl-C clears the line; an empty line, :quit or Ctrl-D leaves."""


@dataclass
class Prompt:
    """What a session remembers; `ask`, `open_hit` and `say` are how it acts."""

    ask: Callable[[str, Prompt], Ranking]
    open_hit: Callable[[Ranking, int], None]
    say: Callable[[str], None]
    limit: int | None = None
    where: list[str] = field(default_factory=list)
    filters: tuple[Condition, ...] = ()
    passages: bool = False
    last: Ranking | None = None

    def run(self, read: Callable[[str], str] = input) -> None:
        """Until the user leaves. A mistake, or Ctrl-C, ends a line and not the session."""
        while True:
            try:
                line = read(PROMPT).strip()
                line.encode()
            except EOFError:
                return self.say("")
            except KeyboardInterrupt:
                self.say("")
                continue
            except UnicodeError:
                self.say("that was not valid UTF-8")
                continue
            if line in ("", ":quit", ":q", ":exit"):
                return None
            try:
                self.obey(line) if line.startswith(":") else self.answer(line)
            except KeyboardInterrupt:
                self.say("stopped")
            except SearchError as error:
                self.say(str(error))

    def answer(self, query: str) -> None:
        self.last = self.ask(query, self)

    def obey(self, line: str) -> None:
        """Carry out a command. Raises InputError for one that is not known or lacks its value."""
        name, _, value = line[1:].partition(" ")
        commands: dict[str, Callable[[str], None]] = {
            "limit": self.set_limit,
            "where": self.set_where,
            "passages": self.toggle_passages,
            "open": self.open,
            "help": lambda _: self.say(HELP),
        }
        if name not in commands:
            raise InputError(f"there is no command :{name}; :help lists them all")
        commands[name](value.strip())

    def set_limit(self, value: str) -> None:
        self.limit = _positive(":limit", value)

    def set_where(self, value: str) -> None:
        where = [*self.where, value] if value else []
        self.filters = parse_filters(where)  # raises before anything is changed
        self.where = where
        self.say(f"filters: {' and '.join(where) or 'none'}")

    def toggle_passages(self, value: str) -> None:
        self.passages = not self.passages
        self.say(f"other passages: {'shown' if self.passages else 'not shown'}")

    def open(self, value: str) -> None:
        number = _positive(":open", value)
        if self.last is None:
            raise InputError(":open goes by the last answer, and there is none yet")
        self.open_hit(self.last, number)


def _positive(command: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and int(value)):
        raise InputError(f"{command} {value}: expected a whole number from 1, e.g. {command} 3")
    return int(value)


@contextlib.contextmanager
def history(file: Path | None) -> Iterator[None]:
    """Line editing, and the lines of earlier sessions; None: of this session only."""
    try:
        import readline
    except ImportError:  # not on every platform; the prompt works without it
        yield
        return
    if file is not None:
        with contextlib.suppress(OSError):  # none yet, or not readable
            readline.read_history_file(file)
    readline.set_history_length(HISTORY_LINES)
    try:
        yield
    finally:
        if file is not None:
            with contextlib.suppress(OSError):  # what cannot be kept is not worth an error
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch(mode=0o600)  # questions are private
                readline.write_history_file(file)
