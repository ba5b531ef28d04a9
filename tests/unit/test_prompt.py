"""The prompt and `--open`: what a line does, and which program shows a file."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import candidate

from search import opening, prompt
from search.errors import InputError, StoreError
from search.prompt import Prompt
from search.types import Condition, Hit, Location, Ranking, Source

Line = str | type[BaseException]


def ranking(query: str) -> Ranking:
    return Ranking(query, (), (), True, None, False, {}, {})


class Session:
    """A prompt whose lines are given, and what came of them."""

    def __init__(self, *lines: Line) -> None:
        self.lines = iter(lines)
        self.asked: list[tuple[str, int | None, tuple[Condition, ...], bool]] = []
        self.opened: list[int] = []
        self.said: list[str] = []
        Prompt(self.ask, lambda _, number: self.opened.append(number), self.said.append).run(
            self.read
        )

    def read(self, _: str) -> str:
        line = next(self.lines, EOFError)
        if isinstance(line, str):
            return line
        raise line()

    def ask(self, query: str, session: Prompt) -> Ranking:
        if query == "slow":
            raise KeyboardInterrupt
        if query == "broken":
            raise StoreError("the store is gone")
        self.asked.append((query, session.limit, session.filters, session.passages))
        return ranking(query)


def test_questions_until_an_empty_line() -> None:
    session = Session(" one ", "two", "", "three")
    assert [asked[0] for asked in session.asked] == ["one", "two"]


def test_ctrl_c_clears_the_line_and_stops_a_search_but_not_the_session() -> None:
    session = Session(KeyboardInterrupt, "slow", "one")
    assert [asked[0] for asked in session.asked] == ["one"]
    assert session.said == ["", "stopped", ""]


def test_an_error_ends_a_line_and_not_the_session() -> None:
    session = Session("broken", "bytes \udcff", "one")
    assert session.said[:2] == ["the store is gone", "that was not valid UTF-8"]
    assert len(session.asked) == 1


def test_commands_hold_for_the_questions_after_them() -> None:
    year, language = Condition("year", ">=", 2018), Condition("lang", "=", "en")
    session = Session(
        *(":limit 3", "a", ":where year>=2018", ":where lang=en", "b", ":where year==1", "c"),
        *(":where", ":passages", "d"),
    )
    assert session.asked == [
        ("a", 3, (), False),
        ("b", 3, (year, language), False),
        ("c", 3, (year, language), False),
        ("d", 3, (), True),
    ]


def test_open_goes_by_the_last_answer() -> None:
    session = Session(":open 1", "a", ":open 2")
    assert session.opened == [2]
    assert "none yet" in session.said[0]


@pytest.mark.parametrize(
    "line", [":limit", ":limit 0", ":limit x", ":limit ²", ":open", ":nothing"]
)
def test_a_wrong_command_is_explained(line: str) -> None:
    session = Session("a", line)
    assert ":" in session.said[0]
    assert session.opened == []


def test_help_names_every_command() -> None:
    (said, _) = Session(":help").said
    for command in (":limit", ":where", ":passages", ":open", ":quit"):
        assert command in said


def test_history_is_kept_in_a_private_file(tmp_path: Path) -> None:
    readline = pytest.importorskip("readline", reason="this Python was built without readline")
    file = tmp_path / "state" / "history"
    readline.clear_history()
    with prompt.history(file):
        readline.add_history("what is a stroke")
    assert "what is a stroke" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    readline.clear_history()
    with prompt.history(file):
        assert readline.get_history_item(1) == "what is a stroke"
    readline.clear_history()
    with prompt.history(None):
        assert readline.get_current_history_length() == 0


@pytest.mark.parametrize(
    ("environment", "file", "expected"),
    [
        ({"EDITOR": "vim"}, "/a b.md", ["vim", "+7", "/a b.md"]),
        ({"VISUAL": "code --wait", "EDITOR": "vim"}, "/a", ["code", "--wait", "--goto", "/a:7"]),
        ({"PAGER": "less -S"}, "/$(rm x);.md", ["less", "-S", "+7", "/$(rm x);.md"]),
        ({"EDITOR": "hx"}, "/a", ["hx", "/a:7"]),
        ({"EDITOR": "unheard-of"}, "/a", ["unheard-of", "/a"]),
        ({}, "/a", ["/usr/bin/less", "+7", "/a"]),
        ({"EDITOR": "vim"}, "/a.PDF", ["/usr/bin/xdg-open", "/a.PDF"]),
    ],
)
def test_the_users_own_program_goes_to_the_line(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], file: str, expected: list[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(opening.shutil, "which", lambda program: f"/usr/bin/{program}")
    assert opening.command(file, 7, environment) == expected


def test_no_program_or_a_broken_setting_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening.shutil, "which", lambda program: None)
    with pytest.raises(InputError, match="set EDITOR or PAGER"):
        opening.command("/a", 7, {})
    with pytest.raises(InputError, match="EDITOR or PAGER has value"):
        opening.command("/a", 7, {"EDITOR": "vim '"})
    assert opening.command("/a", None, {"EDITOR": "vim"}) == ["vim", "/a"]


@pytest.fixture
def hit(tmp_path: Path) -> Callable[..., Hit]:
    def make(name: str, line: int | None = 4) -> Hit:
        found = replace(
            candidate("x", "p", 1.0, 1), source=Source(name, 2), location=Location(line)
        )
        return Hit(1, None, None, found, 1, 1.0)

    return make


def test_a_hits_file_is_opened_at_its_passage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hit: Callable[..., Hit]
) -> None:
    file = tmp_path / "a.md"
    file.write_text("text")
    called: list[list[str]] = []
    monkeypatch.setattr(opening.subprocess, "run", lambda words, check: called.append(words))
    opening.open_hit(hit(str(file)), {"EDITOR": "vim"})
    opening.open_hit(hit(str(file), line=None), {"EDITOR": "vim"})
    assert called == [["vim", "+4", str(file)], ["vim", "+2", str(file)]]


@pytest.mark.parametrize(("name", "said"), [("-", "did not come from"), ("/gone", "no longer")])
def test_a_hit_without_a_file_is_explained(hit: Callable[..., Hit], name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        opening.open_hit(hit(name), {"EDITOR": "vim"})


def test_a_program_that_is_not_there_is_explained(tmp_path: Path, hit: Callable[..., Hit]) -> None:
    with pytest.raises(InputError, match="cannot be shown"):
        opening.open_hit(hit(__file__), {"EDITOR": str(tmp_path / "none")})
