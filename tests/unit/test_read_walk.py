"""Which files a path stands for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest.read.source import Source
from ingest.read.walk import Skipped, check_inputs, sources, total_bytes
from search.errors import InputError


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return folder


def ids(*inputs: Path, skipped: Skipped | None = None) -> list[str]:
    found = list(sources(map(str, inputs), skipped or Skipped()))
    return [source.id for source in found if isinstance(source, Source)]


def test_a_folder_in_stable_order_without_hidden_and_unknown_files(tmp_path: Path) -> None:
    make(
        tmp_path,
        "b.txt",
        "a/z.MD",
        "a/c.jsonl.gz",
        ".hidden.txt",
        ".git/x.txt",
        "p.png",
        "q.PNG",
        "Makefile",
    )
    skipped = Skipped()
    assert ids(tmp_path, skipped=skipped) == ["a/c.jsonl.gz", "a/z.MD", "b.txt"]
    assert skipped.suffixes == {".png": 2, "Makefile": 1}
    assert total_bytes([str(tmp_path)]) == 3
    assert total_bytes([str(tmp_path), "-"]) is None


def test_of_a_beir_folder_the_corpus_alone(tmp_path: Path) -> None:
    make(tmp_path, "beir/corpus.jsonl", "beir/queries.jsonl", "beir/qrels/test.tsv", "beir/n.txt")
    make(tmp_path, "data/docs.json", "data/queries.jsonl", "data/qrels/test.tsv")
    make(tmp_path, "plain/corpus.jsonl", "plain/more.jsonl")
    assert ids(tmp_path) == [
        "beir/corpus.jsonl",
        "data/docs.json",
        "plain/corpus.jsonl",
        "plain/more.jsonl",
    ]
    assert ids(tmp_path / "beir") == ["corpus.jsonl"]


def test_a_link_back_up_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "a/b/x.txt", "other/y.txt")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a/side").symlink_to(tmp_path / "other", target_is_directory=True)
    skipped = Skipped()
    assert ids(tmp_path / "a", skipped=skipped) == ["b/x.txt", "side/y.txt"]
    assert skipped.loops == [str(tmp_path / "a/b/up")]


def test_what_would_block_or_be_gone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    assert ids(tmp_path) == ["gone.txt"]  # reading it then says that it is not there


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    (source,) = sources([str(tmp_path)], Skipped())
    assert isinstance(source, Source)
    assert source.id == "caf\\xe9.txt"
    assert source.path is not None
    assert source.path.read_text() == "x"


def test_paths_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", "b.png", "c.pdf.gz")
    check_inputs([str(tmp_path), str(tmp_path / "a.txt"), "-"])
    with pytest.raises(InputError, match="no such file or folder"):
        check_inputs([str(tmp_path / "none")])
    for name in ("b.png", "c.pdf.gz"):
        with pytest.raises(InputError, match=r"cannot be read; expected one of \.jsonl"):
            check_inputs([str(tmp_path / name)])
