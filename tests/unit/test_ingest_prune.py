"""Prune removes what is gone from the paths named, and nothing when the input is in doubt."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ingest_bench import Bench, counted, doc, write

from ingest.read.source import Options
from ingest.summary import as_text
from search.types import Document, Entry, Passage, Source


def test_prune_removes_what_is_gone(bench: Bench) -> None:
    bench(*[doc(i) for i in range(6)])
    summary = bench(doc(1), doc(3, "changed"), doc(5), prune=True)
    assert counted(summary) == (1, 2, 0)
    assert summary.counts.removed == 3
    assert set(bench.store.entries) == {"1", "3", "5"}


def test_prune_removes_what_a_killed_run_left_half(bench: Bench) -> None:
    bench(doc("a"), doc("b"), doc("c"))
    bench.store.half = {"d": Source(str(bench.folder / "in.jsonl"), 9)}
    assert bench(doc("a"), doc("b"), dry_run=True, prune=True).counts.removed == 2
    summary = bench(doc("a"), doc("b"), prune=True)
    assert summary.problem is None
    assert summary.counts.removed == 2
    assert list(bench.store.ids()) == ["a", "b"]


def test_prune_removes_only_what_came_from_the_paths_named(bench: Bench) -> None:
    (bench.folder / "docs" / "deep").mkdir(parents=True)
    (bench.folder / "docs2").mkdir()
    for name in ("docs/deep/a.txt", "docs/b.txt", "docs2/c.txt"):
        (bench.folder / name).write_text(f"this is {name}")
    assert counted(bench.read(bench.folder)) == (3, 0, 0)
    bench(doc("other"))
    bench.store.put([Entry(Document("unknown", "", "x"), (Passage("x"),), "h")])
    (bench.folder / "docs" / "deep" / "a.txt").unlink()
    (bench.folder / "docs2" / "c.txt").unlink()
    summary = bench.read(bench.folder / "docs", prune=True)
    assert summary.counts.removed == 1
    assert summary.unknown_sources == 1
    assert "left alone 1: " in as_text(summary)
    assert set(bench.sources().values()) == {"docs/b.txt", "docs2/c.txt", "in.jsonl"}
    assert "unknown" in bench.store.entries


def test_prune_refuses_an_input_without_records(bench: Bench) -> None:
    """A disk that is not mounted is an empty folder."""
    folder = bench.folder / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("text")
    bench.read(folder)
    (folder / "a.txt").unlink()
    for flags in ({}, {"force": True}, {"dry_run": True}):
        summary = bench.read(folder, prune=True, **flags)
        assert summary.problem is not None
        assert "no record was found in these PATHs" in summary.problem
        assert len(bench.store.entries) == 1


def test_prune_refuses_when_one_of_several_folders_holds_no_file_any_more(bench: Bench) -> None:
    for name in ("a", "b"):
        (bench.folder / name).mkdir()
        (bench.folder / name / "x.txt").write_text(f"text {name}")
    inputs = [str(bench.folder / name) for name in ("a", "b")]
    bench.read_all(inputs)
    (bench.folder / "b" / "x.txt").unlink()
    problem = bench.read_all(inputs, prune=True).problem
    assert problem is not None
    assert f"there is no file in {inputs[1]}, where documents came from" in problem
    assert len(bench.store.entries) == 2
    assert bench.read_all(inputs, prune=True, force=True).counts.removed == 1
    assert bench.read_all(inputs, prune=True).problem is None


def test_prune_leaves_what_came_from_a_file_whose_fields_have_other_names_now(
    bench: Bench,
) -> None:
    folder = bench.folder / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("text")
    table = folder / "table.csv"
    table.write_text("id,text\n1,one\n2,two\n")
    bench.read(folder)
    table.write_text("id,inhalt\n1,one\n2,two\n")
    summary = bench.read(folder, prune=True)
    assert summary.skipped.without_text == [str(table)]
    assert summary.counts.removed == 0
    assert {"1", "2"} < bench.store.entries.keys()


def test_prune_asks_before_it_removes_a_large_share(bench: Bench) -> None:
    bench(*[doc(i) for i in range(60)])
    for flags in ({}, {"dry_run": True}):
        problem = bench(*[doc(i) for i in range(40)], prune=True, **flags).problem
        assert problem is not None
        assert "20 of the 60 documents that came from these PATHs" in problem
        assert "--force" in problem
    assert len(bench.store.entries) == 60
    assert bench(*[doc(i) for i in range(50)], prune=True).counts.removed == 10
    summary = bench(doc(0), prune=True, force=True)
    assert (summary.problem, summary.counts.removed) == (None, 49)


@pytest.mark.parametrize(("stored", "gone", "asks"), [(10, 5, False), (10, 6, True), (1, 1, True)])
def test_a_handful_is_a_large_share_of_little(
    bench: Bench, stored: int, gone: int, asks: bool
) -> None:
    folder = bench.folder / "docs"
    (folder / "stays").mkdir(parents=True)
    write(bench, "docs/stays/empty.jsonl", doc("outside of the input"))
    for i in range(stored):
        (folder / f"{i}.txt").write_text(f"text {i}")
    bench.read(folder, options=Options(exclude=["stays"]))
    for i in range(gone):
        (folder / f"{i}.txt").unlink()
    (folder / "other.txt").write_text("") if gone == stored else None
    summary = bench.read(folder, prune=True, options=Options(exclude=["stays"]))
    assert (summary.problem is not None) == asks
    assert summary.counts.removed == (0 if asks else gone)


def test_prune_leaves_what_came_from_a_file_that_is_empty_now(bench: Bench) -> None:
    table = write(bench, "docs/table.jsonl", *[doc(i) for i in range(8)])
    for i in range(8):
        (bench.folder / "docs" / f"{i}.md").write_text(f"text {i}")
    bench.read(bench.folder / "docs")
    table.write_text("")
    (bench.folder / "docs" / "0.md").write_text("")
    (bench.folder / "docs" / "1.md").unlink()
    summary = bench.read(bench.folder / "docs", prune=True)
    assert (summary.problem, summary.counts.removed) == (None, 1)
    assert len(bench.store.entries) == 15


@pytest.mark.parametrize("reading", [{"include": ["*.md"]}, {"exclude": ["*.py", "b.rst"]}])
def test_prune_leaves_what_came_from_a_file_that_is_left_out_now(
    bench: Bench, reading: dict[str, list[str]]
) -> None:
    (bench.folder / "docs").mkdir()
    for name in ("a.md", "b.rst", "c.py", "gone.rst"):
        (bench.folder / "docs" / name).write_text(f"text of {name}")
    bench.read(bench.folder / "docs")
    (bench.folder / "docs" / "gone.rst").unlink()
    summary = bench.read(bench.folder / "docs", prune=True, options=Options(**reading))
    assert (summary.problem, summary.counts.removed) == (None, 1)
    assert set(bench.sources().values()) == {"docs/a.md", "docs/b.rst", "docs/c.py"}


def test_prune_below_a_folder_whose_name_is_not_utf8(bench: Bench) -> None:
    folder = Path(os.fsdecode(os.fsencode(bench.folder) + b"/in\xff"))
    folder.mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / name).write_text(f"text of {name}")
    bench.read(folder)
    (folder / "a.txt").unlink()
    summary = bench.read(folder, prune=True, options=Options(exclude=["b.txt"]))
    assert (summary.problem, summary.counts.removed) == (None, 1)
    assert {Path(name).name for name in bench.store.entries} == {"b.txt", "c.txt"}


def test_prune_removes_nothing_after_a_rejection(bench: Bench) -> None:
    bench(doc("a"), doc("b"), doc("c"))
    summary = bench(doc("a"), doc("b", ""), prune=True)
    assert summary.problem is not None
    assert "nothing was pruned" in summary.problem
    assert len(bench.store.entries) == 3
    summary = bench(doc("a"), doc("b", ""), prune=True, prune_after_rejects=True)
    assert summary.problem is None
    assert set(bench.store.entries) == {"a", "b"}  # b is in the input, if not as it should be


def test_prune_never_follows_an_incomplete_input(bench: Bench) -> None:
    bench(doc("a"), doc("b"))
    path = bench.folder / "cut.json"
    path.write_text('[{"id": "a", "text": "some text"},')
    summary = bench.read(path, prune=True, prune_after_rejects=True)
    assert summary.problem is not None
    assert "could not be read" in summary.problem
    assert len(bench.store.entries) == 2
