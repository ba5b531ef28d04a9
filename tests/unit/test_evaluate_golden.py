from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from fakes import TableReranker

from search.errors import InputError
from search.evaluate import golden, tables
from search.rerank import Blend

MODEL = TableReranker({"right": 2.0, "wrong": -1.0, "as good": 2.0}, Blend())


def write(path: Path, *pairs: tuple[str, str]) -> Path:
    lines = [json.dumps({"query": "q", "better": b, "worse": w, "why": "x"}) for b, w in pairs]
    path.write_text("\n\n".join(lines), encoding="utf-8")
    return path


def test_a_pair_is_right_only_when_the_better_passage_scores_higher(tmp_path: Path) -> None:
    file = write(tmp_path / "g", ("right", "wrong"), ("wrong", "right"), ("right", "as good"))
    verdicts = golden.judge(golden.read(file), cast(Any, MODEL))
    assert [verdict.right for verdict in verdicts] == [True, False, False]
    assert [verdict.pair.line for verdict in verdicts] == [1, 3, 5]
    assert (verdicts[1].better, verdicts[1].worse) == (-1.0, 2.0)


def test_the_wrong_ones_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    file = write(tmp_path / "g", ("right", "wrong"), ("wrong", "right"))
    Console(width=120).print(tables.golden(golden.judge(golden.read(file), cast(Any, MODEL))))
    printed = capsys.readouterr().out
    assert "WRONG line 3: q" in printed
    assert "better -1.000  wrong" in printed
    assert "1 of 2 golden pairs in the right order; narrowest margin -3.000" in printed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no golden pairs"),
        ('{"query": "q", "better": "b"}', "g:1: expected"),
        ('\n{"query": "q", "better": "b", "worse": " "}', "g:2: query, better and worse"),
        ('{"query": "q", "better": "b", "worse": 1}', "g:1: query, better and worse"),
        ("not json", "g:1: expected"),
        ("[1]", "g:1: expected"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "g"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        golden.read(file)
    with pytest.raises(InputError, match="cannot be read"):
        golden.read(tmp_path / "absent")
