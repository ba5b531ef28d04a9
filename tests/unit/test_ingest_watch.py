"""Watching: what changes is ingested, what vanishes is removed, and nothing more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from ingest_fakes import FakeEmbedder, MemoryStore

import config
from ingest import run
from ingest import watch as watch_module
from ingest.fields import FieldNames
from ingest.progress import Progress
from ingest.read.source import Options
from ingest.summary import Summary
from ingest.watch import watch
from search.errors import InputError, StoreUnavailable


class Silent:
    def update(self, records: int) -> None: ...

    def add_embedded(self, passages: int) -> None: ...

    def say(self, line: str) -> None: ...


class Watched:
    """A folder of ten files, whose changes take the place of the pauses."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = MemoryStore()
        self.folder = folder / "notes"
        self.folder.mkdir()
        for i in range(10):
            self.write(i, f"text {i}")
        settings = config.load({"store": folder / "store.db"}, {}, [])
        inputs = [str(self.folder)]
        self.job = run.Job(inputs, settings, Options(), FieldNames(), folder / "rejects.jsonl")
        self.said: list[str] = []
        self.results: list[tuple[int, int, int, int]] = []
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(run, "open_store", lambda settings, **options: self.store)
        monkeypatch.setattr(run, "load_embedder", lambda settings: FakeEmbedder())

    def write(self, name: object, text: str) -> None:
        path = self.folder / f"{name}.txt"
        path.write_text(text)
        os.utime(path, ns=(1, hash(text)))  # clocks of file systems are coarse

    def names(self) -> set[str]:
        return {Path(name).stem for name in self.store.entries}

    def after(self, *steps: Callable[[], object]) -> None:
        """Watch, taking one step in each pause, then an interrupt."""
        waiting: Iterator[Callable[[], object]] = iter(steps)

        def pause(seconds: float) -> None:
            step = next(waiting, None)
            if step is None:
                raise KeyboardInterrupt
            step()

        def progress() -> AbstractContextManager[Progress]:
            return nullcontext(Silent())

        def report(summary: Summary) -> None:
            c = summary.counts
            self.results.append((c.read, c.stored, c.unchanged, c.removed))
            if summary.problem:
                self.said.append(summary.problem)

        self.monkeypatch.setattr(watch_module.time, "sleep", pause)
        with pytest.raises(KeyboardInterrupt):
            watch(self.job, progress, report, self.said.append)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(tmp_path, monkeypatch)


def nothing() -> None: ...


def test_only_what_changed_is_read(watched: Watched) -> None:
    watched.after(
        nothing,
        lambda: watched.write(3, "changed"),
        nothing,
        lambda: watched.write("new", "new"),
        lambda: (watched.folder / "5.txt").unlink(),
        nothing,
    )
    assert watched.results == [(10, 10, 0, 0), (1, 1, 0, 0), (1, 1, 0, 0), (0, 0, 0, 1)]
    assert watched.names() == {*map(str, range(10)), "new"} - {"5"}
    assert watched.said == []


def test_what_vanished_while_nobody_watched_is_removed_at_the_start(watched: Watched) -> None:
    watched.after()
    (watched.folder / "5.txt").unlink()
    watched.after()
    assert watched.results == [(10, 10, 0, 0), (9, 0, 9, 1)]


def test_records_that_vanish_from_a_file_are_removed(watched: Watched) -> None:
    path = watched.folder / "records.jsonl"

    def records(*names: str) -> Callable[[], object]:
        lines = (f'{{"id": "{name}", "text": "text"}}\n' for name in names)
        return lambda: path.write_text("".join(lines))

    watched.after(records("a", "b", "c"), records("a", "c"), nothing)
    assert watched.results[1:] == [(3, 3, 0, 0), (2, 0, 2, 0), (12, 0, 12, 1)]


@pytest.mark.parametrize("then", ["changes", "vanishes"])
def test_a_record_that_another_file_has_stays_when_its_own_file(
    watched: Watched, then: str
) -> None:
    one, other = watched.folder / "a.jsonl", watched.folder / "b.jsonl"
    kept, moved = '{"id": "kept", "text": "text"}\n', '{"id": "moved", "text": "text"}\n'
    changes: Callable[[], object] = lambda: one.write_text(kept)  # noqa: E731
    watched.after(
        lambda: one.write_text(kept + moved),
        lambda: other.write_text(moved),
        changes if then == "changes" else one.unlink,
        nothing,
    )
    assert "moved" in watched.names()
    assert ("kept" in watched.names()) == (then == "changes")
    assert watched.said == []


def test_an_empty_folder_is_taken_for_a_disk_that_is_gone(watched: Watched) -> None:
    def unmount() -> None:
        watched.folder.rename(watched.folder.with_name("away"))
        watched.folder.mkdir()

    def mount() -> None:
        watched.folder.rmdir()
        watched.folder.with_name("away").rename(watched.folder)

    watched.after(unmount, nothing, mount, nothing)
    assert len(watched.names()) == 10
    (said,) = watched.said
    assert said.startswith("all files are gone; is a disk not mounted?")
    assert watched.results[-1][1:] == (0, 10, 0)


def test_many_files_that_vanish_at_once_stay_in_the_store(watched: Watched) -> None:
    for i in range(10, 30):
        watched.write(i, f"text {i}")

    def remove(numbers: Sequence[int]) -> Callable[[], object]:
        return lambda: [(watched.folder / f"{i}.txt").unlink() for i in numbers]

    watched.after(remove(range(15)), nothing)
    assert len(watched.names()) == 30
    assert "15 of the 30 documents" in watched.said[0]
    assert "--force" in watched.said[0]


def test_a_fault_is_said_and_tried_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    put = watched.store.put

    def fail_once(entries: object) -> object:
        monkeypatch.setattr(watched.store, "put", put)
        raise StoreUnavailable("the store is locked")

    monkeypatch.setattr(watched.store, "put", fail_once)
    watched.after(nothing, nothing)
    assert watched.said == ["the store is locked"]
    assert watched.results == [(10, 10, 0, 0)]


def test_standard_input_and_dry_runs_cannot_be_watched(watched: Watched) -> None:
    for changes in ({"inputs": ["-"]}, {"dry_run": True}):
        with pytest.raises(InputError, match="--watch follows"):
            watch(replace(watched.job, **changes), lambda: nullcontext(Silent()), print, print)


def test_an_empty_file_is_passed_over_and_one_emptied_keeps_its_document(watched: Watched) -> None:
    """Editors empty a file before they write it."""
    watched.after(
        lambda: watched.write("new", ""),
        nothing,
        lambda: watched.write(3, ""),
        nothing,
    )
    assert watched.said == []
    assert watched.names() == {*map(str, range(10))}


def test_a_file_below_a_linked_folder_is_one_document(watched: Watched, tmp_path: Path) -> None:
    linked = tmp_path / "elsewhere"
    linked.mkdir()
    file = linked / "linked.txt"
    file.write_text("before")
    (watched.folder / "link").symlink_to(linked)
    watched.after(lambda: file.write_text("after, and longer"), nothing)
    (entry,) = [e for name, e in watched.store.entries.items() if name.endswith("linked.txt")]
    assert entry.document.text == "after, and longer"
    watched.after(file.unlink, nothing)
    assert watched.names() == {*map(str, range(10))}


def test_what_could_not_be_removed_at_once_is_removed_later(watched: Watched) -> None:
    bad = watched.folder / "bad.jsonl"

    def vanish_beside_a_bad_record() -> None:
        (watched.folder / "5.txt").unlink()
        bad.write_text('{"id": 1, "text": "good"}\n{broken\n')

    watched.after(
        nothing,
        vanish_beside_a_bad_record,
        lambda: bad.write_text('{"id": 1, "text": "good"}\n'),
        nothing,
    )
    assert "records were rejected" in watched.said[0]
    assert "5" not in watched.names()


def test_after_a_fault_at_the_start_all_is_compared(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.after()
    (watched.folder / "5.txt").unlink()
    watched.write(6, "changed")
    put = watched.store.put

    def fail_once(entries: object) -> object:
        monkeypatch.setattr(watched.store, "put", put)
        raise StoreUnavailable("the store is locked")

    monkeypatch.setattr(watched.store, "put", fail_once)
    watched.after(nothing)
    assert "5" not in watched.names()
