"""Usage: help for every flag, and errors that name the fix. Nothing here loads a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import config
from search.evaluate.__main__ import main
from search.evaluate.arguments import build_parser, note_on_store

ROOT = Path(__file__).parents[2]


def test_every_flag_has_help_and_the_help_has_examples() -> None:
    parser = build_parser()
    assert [a.dest for a in parser._actions if not a.help] == []
    assert parser.format_help().count("python -m search.evaluate") >= 6


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, runpy; sys.argv = ['evaluate', '--help']\n"
        "try: runpy.run_module('search.evaluate', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'apsw', 'scipy', 'ir_measures', 'matplotlib', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a BEIR FOLDER, or --queries"),
        (["--queries", "q.jsonl"], "--queries and --qrels go together"),
        (["x", "--queries", "q", "--qrels", "r"], "not both"),
        (["x", "--write", "search.yaml"], "--write needs --tune"),
        (["x", "--judged", "y", "--write-model"], "names a --dev set"),
        (["x", "y", "--store", "s.db"], "--store names the store of one FOLDER"),
        (["--queries", "q", "--qrels", "r", "--tune"], "give --dev FOLDER"),
        (["x", "--set", "candidates"], "no '='"),
        (["x", "--set", "nonsense=1"], "'nonsense'"),
    ],
)
def test_flags_that_do_not_go_together(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--k", "10,zero"], "'zero' is not a whole number of 1 or more"),
        (["x", "--k", "0"], "'0' is not a whole number of 1 or more"),
        (["x", "--blend", "1,-2"], "weights are 0 or more"),
        (["x", "--blend", "one"], "expected numbers such as 0,2,4"),
        (["x", "--bound", "2"], "not a number from 0 to 1"),
        (["x", "--limit-queries", "-3"], "'-3' is not a whole number"),
    ],
)
def test_values_that_cannot_be(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_missing_folder_golden_file_or_split_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "not a folder" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "no qrels at all" in capsys.readouterr().err
    assert main(["--golden", str(tmp_path / "none.jsonl")]) == 2
    assert "cannot be read as golden pairs" in capsys.readouterr().err


def test_folders_are_not_looked_for_in_weaviate_and_that_is_said() -> None:
    server = config.load({"weaviate_url": "http://127.0.0.1:1"}, files=[])
    parse = build_parser().parse_args
    assert "not in the Weaviate" in (note_on_store(parse(["set"]), server) or "")
    assert note_on_store(parse(["set"]), config.load(files=[])) is None
    assert note_on_store(parse(["--queries", "q", "--qrels", "r"]), server) is None
