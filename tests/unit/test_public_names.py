"""`from search import …`: every public name is there, and importing the package loads nothing."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import search

ROOT = Path(__file__).parents[2]
# Names may be added here; to remove one breaks somebody's program.
PUBLIC = (
    *("Candidate", "Condition", "CrossEncoder", "Hit", "Location", "PassageHit", "Ranked"),
    *("Ranking", "SearchError", "Searcher", "Source", "as_json", "parse_filters"),
)


@pytest.mark.parametrize("name", search.__all__)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    found = getattr(search, name)
    assert found.__doc__
    assert name in dir(search)


def test_names_are_listed_once_for_people_and_once_for_the_interpreter() -> None:
    assert sorted(search._HOMES) == sorted(search.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Sercher'"):
        _ = search.Sercher


def test_no_name_that_was_public_once_is_gone() -> None:
    assert set(PUBLIC) <= set(search.__all__)


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = (
        "import sys, search; print([m for m in sys.modules if m.startswith(('search.', 'numpy'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_type_checkers_are_told_that_there_are_types() -> None:
    for package in ("config", "ingest", "search", "two_stage"):
        assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("module", ["search.answer", "search.filters"])
def test_examples_in_docstrings_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
