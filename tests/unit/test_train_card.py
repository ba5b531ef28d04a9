"""The model card, and the commands' help and errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training.__main__ import main
from training.card import write_card
from training.lists import TrainingList


def test_the_card_tells_data_licences_and_command(tmp_path: Path) -> None:
    data = tmp_path / "toy"
    data.mkdir()
    (data / "NOTICE").write_text(
        "Toy set:\n  https://example.org/toy @ 12ab\n\nMade by hand.\nLicence: CC BY 4.0.\n"
    )
    bare = tmp_path / "bare"
    bare.mkdir()
    one = TrainingList("q", "labelled", ("a", "b"), (1.0, 0.0))
    origins = {"Start": "some-start", "Teacher": ""}
    write_card(tmp_path, "python -m x", origins, 512, [one] * 3, [data, bare])
    card = (tmp_path / "README.md").read_text()
    for told in (
        "python -m x",
        "some-start",
        "Toy set:",
        "example.org/toy @ 12ab",
        "CC BY 4.0",
        "lists: 3",
        "no NOTICE",
    ):
        assert told.lower() in card.lower().replace("lists of 2 passages", "lists")
    assert "Made by hand" not in card
    assert "- Teacher:" not in card


def test_a_missing_folder_is_named_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--data", str(tmp_path / "nowhere=10"), "--out", str(tmp_path / "out")])
    assert status == 2
    assert "nowhere=10: no such folder" in capsys.readouterr().err


def test_a_folder_that_is_no_data_set_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert status == 2
    assert "train.tsv: no such split" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["training", "training.convert"])
def test_help_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('{module}', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: python -m training" in done.stdout
