"""Usage errors of `python -m search`: caught before any store or model is touched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import config
from search.__main__ import build_parser, main


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return status, captured.err


def test_no_query_outside_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = failing(capsys)
    assert status == 2
    assert 'two-stage search "your question"' in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "candidates", "q"], "NAME=VALUE"),
        (["--set", "colour=red", "q"], "'colour'"),
        (["--candidates", "0", "q"], "'candidates'"),
        (["--threshold", "1.5", "q"], "'threshold'"),
        (["--queries", "absent.txt"], "absent.txt"),
        (["--queries", "absent.txt", "signs", "of"], "give one of them, not both"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    status, message = failing(capsys, *arguments)
    assert status == 2
    assert said in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no query"),
        (b'{"text": 3}', ":1: found no 'text'"),
        (b"{", ":1: not valid JSON"),
        (b"caf\xe9", "UTF-8"),
    ],
)
def test_a_bad_queries_file_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    file = tmp_path / "queries.txt"
    file.write_bytes(content)
    status, message = failing(capsys, "--queries", str(file))
    assert status == 2
    assert said in message


def test_every_option_has_help() -> None:
    for action in build_parser()._actions:
        assert action.help, action.option_strings


def test_the_defaults_that_help_names_are_those_of_the_settings() -> None:
    settings = config.load()
    named = 0
    for action in build_parser()._actions:
        found = re.search(r"default ([^);]+)", action.help or "")
        if found and action.dest in config.Settings.model_fields:
            assert found[1] == str(getattr(settings, action.dest)), action.option_strings
            named += 1
    assert named >= 4
