"""Whose a document is: files that bring the same id, and documents that move with their file."""

from __future__ import annotations

from pathlib import Path

import pytest
from ingest_bench import Bench, counted, doc, write

from ingest.summary import as_text
from search.types import Document, Entry, Passage, Source


def test_two_folders_do_not_overwrite_each_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for project in ("a", "b"):
        folder = bench.folder / project / "docs"
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(f"about {project}")
        assert counted(bench.read(folder)) == (1, 0, 0)
    assert set(bench.sources().values()) == {"a/docs/README.md", "b/docs/README.md"}
    monkeypatch.chdir(bench.folder / "a")
    assert counted(bench.read(Path("docs/README.md"))) == (0, 1, 0)
    assert counted(bench.read(Path(".."))) == (0, 2, 0)


def test_another_files_document_is_replaced_only_when_asked(bench: Bench) -> None:
    first = write(bench, "one.jsonl", {"url": "http://x", "text": "first"})
    other = write(bench, "two.jsonl", {"url": "http://x", "text": "second"}, doc("own"))
    assert counted(bench.read(first)) == (1, 0, 0)
    assert counted(bench.read(other)) == (1, 0, 1)
    reason = f"id 'http://x' belongs to {first}:1; --take-over replaces it"
    assert bench.rejects()[0]["_reject"]["reason"] == reason
    assert bench.sources() == {"http://x": "one.jsonl", "own": "two.jsonl"}
    summary = bench.read(other, take_over=True)
    assert counted(summary) == (1, 1, 0)
    assert "taken over 1: " in as_text(summary)
    assert bench.sources()["http://x"] == "two.jsonl"
    assert bench.store.entries["http://x"].document.text == "second"


def test_what_takes_the_place_of_an_earlier_version_is_said(bench: Bench) -> None:
    """Two pipes cannot be told apart, so that this is all a user sees of an id used twice."""
    bench({"id": "a", "text": "first"}, {"id": "b", "text": "stays"})
    summary = bench({"id": "a", "text": "second"}, {"id": "b", "text": "stays"})
    assert (summary.counts.stored, summary.counts.replaced) == (1, 1)
    assert as_text(summary).startswith("stored 1 (1 in place of an earlier version)   unchanged 1")


def test_the_same_content_elsewhere_is_unchanged_and_moves_with_its_file(bench: Bench) -> None:
    first = write(bench, "one.jsonl", doc("a"), doc("b"))
    copy = write(bench, "copy.jsonl", doc("a"), doc("b"))
    bench.read(first)
    puts = bench.store.puts
    assert counted(bench.read(copy)) == (0, 2, 0)
    assert bench.sources() == {"a": "one.jsonl", "b": "one.jsonl"}
    assert counted(bench.read(copy, take_over=True, dry_run=True)) == (0, 2, 0)
    assert bench.sources()["a"] == "one.jsonl"
    first.unlink()
    assert counted(bench.read(copy)) == (0, 2, 0)
    assert bench.sources() == {"a": "copy.jsonl", "b": "copy.jsonl"}
    write(bench, "copy.jsonl", doc("new"), doc("a"), doc("b"))
    assert counted(bench.read(copy)) == (1, 2, 0)
    source = bench.store.entries["a"].document.source
    assert source is not None
    assert source.line == 2
    assert bench.store.puts == puts + 1


def test_a_mended_reject_takes_the_place_of_its_earlier_version(bench: Bench) -> None:
    bench(doc("a", "old"), doc("b"))
    bench(doc("a", ""), doc("b"))
    path = bench.folder / "rejects.jsonl"
    path.write_text(path.read_text().replace('"text": ""', '"text": "mended"'))
    assert counted(bench.read(path)) == (1, 0, 0)
    assert bench.sources()["a"] == "in.jsonl"


def test_a_rejected_duplicate_does_not_take_the_place_of_the_record_that_was_used(
    bench: Bench,
) -> None:
    table = write(bench, "c.jsonl", doc(1, "first version"), doc(1, "second version"), doc(2, ""))
    assert counted(bench.read(table)) == (1, 0, 2)
    path = bench.folder / "rejects.jsonl"
    path.write_text(path.read_text().replace('"text": ""', '"text": "mended"'))
    assert counted(bench.read(path)) == (1, 0, 1)
    reason = f"id '1' belongs to {table}:1; --take-over replaces it"
    assert bench.rejects()[0]["_reject"]["reason"] == reason
    assert {i: e.document.text for i, e in bench.store.entries.items()} == {
        "1": "first version",
        "2": "mended",
    }
    assert counted(bench.read(path, take_over=True)) == (1, 0, 0)
    assert bench.store.entries["1"].document.text == "second version"


def test_another_name_of_the_same_file_is_still_its_own(bench: Bench) -> None:
    """What tells a rejects file's record is its note alone, not how the user named the file."""
    path = write(bench, "in/a.jsonl", doc("x", "one"))
    (bench.folder / "link").symlink_to(bench.folder / "in")
    bench.read(path)
    write(bench, "in/a.jsonl", doc("new"), doc("x", "two"))
    assert counted(bench.read(bench.folder / "link" / "a.jsonl")) == (2, 0, 0)


def old_entry(name: str, text: str, source: Source | None) -> Entry:
    return Entry(Document(name, "", text, {}, source), (Passage(text),), "hash of an old version")


def test_files_known_by_their_path_below_a_folder_are_renamed(bench: Bench) -> None:
    (bench.folder / "docs").mkdir()
    for name in ("here", "told", "elsewhere", "changed"):
        (bench.folder / "docs" / f"{name}.txt").write_text(f"text {name}")
    files = {name: bench.folder / "docs" / f"{name}.txt" for name in ("here", "told")}
    bench.store.put(
        [
            old_entry("docs/here.txt", "before", Source(str(files["here"]))),
            old_entry("told.txt", "text told", None),
            old_entry("elsewhere.txt", "text elsewhere", Source("/other/elsewhere.txt")),
            old_entry("changed.txt", "another file's text", None),
        ]
    )
    dry = bench.read(bench.folder / "docs", dry_run=True, prune=True)
    assert (dry.counts.renamed, dry.counts.removed) == (2, 0)
    assert len(bench.store.entries) == 4
    summary = bench.read(bench.folder / "docs")
    assert counted(summary) == (4, 0, 0)
    assert "renamed 2: " in as_text(summary)
    assert {"docs/here.txt", "told.txt"}.isdisjoint(bench.store.entries)
    assert {"elsewhere.txt", "changed.txt"} <= bench.store.entries.keys()


def test_an_old_id_stays_when_the_file_cannot_be_stored(bench: Bench) -> None:
    path = bench.folder / "a.txt"
    path.write_text("text")
    bench.store.put([old_entry("a.txt", "text", Source(str(path)))])
    bench.store.refused = {str(path)}
    bench.read(path)
    assert set(bench.store.entries) == {"a.txt"}
