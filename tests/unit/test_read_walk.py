"""Which files a path stands for."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ingest.fields import FieldNames
from ingest.read import read
from ingest.read.source import InputFile, Options
from ingest.read.walk import Skipped, check_inputs, sources, total_bytes
from ingest.record import Rejection
from search.errors import InputError


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return folder


def names(folder: Path, skipped: Skipped | None = None, **options: Any) -> list[str]:
    """The files that are read of a folder, below it."""
    found = list(sources([str(folder)], Options(**options), skipped or Skipped()))
    return [Path(file.id).relative_to(folder).as_posix() for file in found if is_file(file)]


def is_file(found: object) -> bool:
    assert isinstance(found, InputFile)
    return True


def test_a_folder_in_stable_order_without_hidden_and_binary_files(tmp_path: Path) -> None:
    make(tmp_path, "b.txt", "a/z.MD", "a/c.jsonl.gz", ".hidden.txt", ".git/x.txt")
    make(tmp_path, "p.png", "q.PNG", "yarn.lock", "notes~", "logo.svg")
    (tmp_path / "data.db").write_bytes(b"SQLite format 3\0")
    skipped = Skipped()
    assert names(tmp_path, skipped) == ["a/c.jsonl.gz", "a/z.MD", "b.txt"]
    assert skipped.suffixes == {".png": 2, ".lock": 1, "notes~": 1, ".svg": 1, ".db": 1}
    assert total_bytes([str(tmp_path)], Options()) == 3
    assert total_bytes([str(tmp_path), "-"], Options()) is None


def test_text_is_known_by_its_content(tmp_path: Path) -> None:
    make(tmp_path, "README", "a.rst", "b.org", "c.log", "d.py", "LICENSE.Debian")
    (tmp_path / "changelog.Debian.gz").write_bytes(gzip.compress(b"text"))
    (tmp_path / "all.tar.gz").write_bytes(gzip.compress(b"a\0b"))
    (tmp_path / "program").write_bytes(b"\x7fELF\0")
    expected = [
        "LICENSE.Debian",
        "README",
        "a.rst",
        "b.org",
        "c.log",
        "changelog.Debian.gz",
        "d.py",
    ]
    assert names(tmp_path) == expected
    formats = {file.format for file in sources([str(tmp_path)], Options(), Skipped())}  # type: ignore[union-attr]
    assert formats == {"text"}


def test_include_and_exclude(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "b.txt", "docs/c.md", "docs/old/d.md", "node_modules/x/e.md", "f.lock")
    assert names(tmp_path, exclude=["node_modules", "docs/old/"]) == ["a.md", "b.txt", "docs/c.md"]
    assert names(tmp_path, include=["*.md"], exclude=["node_*"]) == [
        "a.md",
        "docs/c.md",
        "docs/old/d.md",
    ]
    assert names(tmp_path, include=["docs/*"]) == ["docs/c.md", "docs/old/d.md"]
    assert names(tmp_path, include=["*.lock"]) == ["f.lock"]


def test_of_a_beir_folder_all_but_queries_and_judgments(tmp_path: Path) -> None:
    make(tmp_path, "beir/corpus.jsonl", "beir/queries.jsonl", "beir/qrels/test.tsv", "beir/n.txt")
    make(tmp_path, "data/docs.json", "data/queries.jsonl", "data/qrels/test.tsv")
    make(tmp_path, "plain/queries.jsonl", "plain/more.jsonl")
    skipped = Skipped()
    assert names(tmp_path, skipped) == [
        "beir/corpus.jsonl",
        "beir/n.txt",
        "data/docs.json",
        "plain/more.jsonl",
        "plain/queries.jsonl",
    ]
    assert len(skipped.judgments) == 4
    assert "skipped 4 files of a BEIR corpus's queries and judgments: " in skipped.lines()[0]


def test_a_file_keeps_its_id_whatever_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/b/x.txt")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    for name in (str(tmp_path), "..", ".", "b", "b/x.txt", "../link", str(tmp_path / "link/b")):
        found = list(sources([name], Options(), Skipped()))
        assert str(tmp_path / "a/b/x.txt") in [file.id for file in found if is_file(file)]  # type: ignore[union-attr]
    assert len(list(sources([".", "b", "b/x.txt"], Options(), Skipped()))) == 1


def test_own_rejects_and_empty_files_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "good.txt")
    (tmp_path / "empty.md").write_text("")
    (tmp_path / "hollow.md").write_text("---\ntitle: x\n---\n\n")
    for name in ("rejects.jsonl", "other.txt"):
        (tmp_path / name).write_text('{"_reject": {"reason": "r"}, "text": "x"}\n')
    skipped = Skipped()
    assert len(list(read([str(tmp_path)], Options(), skipped))) == 1
    assert len(skipped.rejects) == len(skipped.empty) == 2
    assert any("2 files of rejected records (name one to ingest it)" in s for s in skipped.lines())
    assert len(list(read([str(tmp_path / "rejects.jsonl")], Options(), Skipped()))) == 1


def test_records_without_text_are_one_message(tmp_path: Path) -> None:
    make(tmp_path, "good.txt")
    stubs = [{"name": "a", "version": 1}] * 2431
    (tmp_path / "words.json").write_text(json.dumps(["a", "b"]))
    (tmp_path / "stubs.json").write_text(json.dumps(stubs))
    (tmp_path / "figures.csv").write_text("year,value\n" + "2018,1\n" * 20)
    (tmp_path / "broken.json").write_text('[{"name": "a"}, ')
    skipped = Skipped()
    found = list(read([str(tmp_path)], Options(), skipped))
    assert [item.file for item in found] == [
        str(tmp_path / n) for n in ("broken.json",) * 2 + ("good.txt",)
    ]
    assert len(skipped.without_text) == 3
    (only,) = read([str(tmp_path / "stubs.json")], Options(), Skipped())
    assert isinstance(only, Rejection)
    assert only.reason.startswith("all 2,431 records: no text: expected a field 'text'")
    assert only.incomplete
    (only,) = read([str(tmp_path / "words.json")], Options(), Skipped())
    assert isinstance(only, Rejection)
    assert only.reason == "found a string, expected a JSON object (2 values like this)"
    abstracts = tmp_path / "abstracts.jsonl"
    abstracts.write_text('{"abstract": "x", "note": "y"}\n')
    names = FieldNames(text="note")
    found = list(read([str(tmp_path)], Options(), Skipped(), names))
    assert str(abstracts) in [item.file for item in found]


def test_a_link_back_up_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "a/b/x.txt", "other/y.txt")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a/side").symlink_to(tmp_path / "other", target_is_directory=True)
    skipped = Skipped()
    assert names(tmp_path / "a", skipped) == ["b/x.txt", "side/y.txt"]
    assert skipped.loops == [str(tmp_path / "a/b/up")]


def test_what_would_block_or_be_gone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    assert names(tmp_path) == ["gone.txt"]  # reading it then says that it is not there


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    (source,) = sources([str(tmp_path)], Options(), Skipped())
    assert isinstance(source, InputFile)
    assert source.id.endswith("/caf\\xe9.txt")
    assert source.path is not None
    assert source.path.read_text() == "x"


def test_paths_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", "c.pdf.gz")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    check_inputs([str(tmp_path), str(tmp_path / "a.txt"), "-"], Options())
    with pytest.raises(InputError, match="no such file or folder"):
        check_inputs([str(tmp_path / "none")], Options())
    with pytest.raises(InputError, match=r"cannot be read; expected text of any kind, or one of"):
        check_inputs([str(tmp_path / "b.png")], Options())
    with pytest.raises(InputError, match="named twice"):
        check_inputs(["-", "-"], Options())
