"""The README and the program say the same."""

from __future__ import annotations

import argparse
import importlib
import re
import tomllib
from pathlib import Path

import pytest

import two_stage.__main__ as two_stage

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(
    ".".join(path.parent.relative_to(ROOT).parts)
    for room in ("ingest", "search")
    for path in (ROOT / room).rglob("__main__.py")
)
FULL = two_stage.build_parser(complete=True)
(SUBCOMMANDS,) = (a.choices for a in FULL._actions if isinstance(a, argparse._SubParsersAction))


def parser_of(command: str) -> argparse.ArgumentParser:
    try:
        module = importlib.import_module(f"{command}.arguments")
    except ModuleNotFoundError:
        module = importlib.import_module(f"{command}.__main__")
    parser = module.build_parser()
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Those of its subcommands, too."""
    own = {flag for action in parser._actions for flag in action.option_strings}
    nested = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return own.union(*(flags_of(below) for choices in nested for below in choices.values()))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme_with_help_and_an_example(command: str) -> None:
    assert f"python -m {command}" in README
    parser = parser_of(command)
    assert parser.description
    assert f"  python -m {command}" in parser.format_help().partition("examples:")[2]
    for action in parser._actions:
        assert action.help, f"{command} {action.option_strings}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_uses_only_flags_that_exist(command: str) -> None:
    known = flags_of(parser_of(command))
    for line in re.findall(rf"python -m {re.escape(command)} ([^\n`]*)", README):
        for flag in re.findall(r"(?<!\S)--[\w-]+", line.partition("#")[0]):
            assert flag in known, f"python -m {command} {flag}"


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_command_on_the_path_has_help_and_is_in_the_readme(command: str) -> None:
    assert re.search(rf"\btwo-stage {command}\b", README), command
    assert re.search(rf"^ +{command}\s", two_stage.build_parser().format_help(), re.MULTILINE)
    for action in SUBCOMMANDS[command]._actions:
        assert action.help, f"two-stage {command} {action.option_strings}"


def test_the_readme_gives_the_command_on_the_path_only_flags_that_exist() -> None:
    for command, rest in re.findall(r"two-stage (\w+) ?([^\n`]*)", README):
        known = flags_of(SUBCOMMANDS[command])
        for flag in re.findall(r"(?<!\S)--[\w-]+", rest.partition("#")[0]):
            assert flag in known, f"two-stage {command} {flag}"


def test_every_package_is_listed_for_installation() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for room in ("config", "ingest", "search", "two_stage")
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert found == set(listed["packages"])


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
