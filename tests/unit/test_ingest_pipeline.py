"""Every record ends stored, unchanged or rejected, and nothing is replaced or removed unseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest_fakes import FakeEmbedder, MemoryStore

import config
from ingest import pipeline, run
from ingest.chunk import Chunker
from ingest.fields import FieldNames
from ingest.pipeline import BATCH_CHARACTERS, BATCH_DOCUMENTS, Prepared, batches, content_hash
from ingest.read.source import Options
from ingest.record import Cleaned, Mark, Record
from ingest.run import Job
from ingest.summary import Summary, as_text
from search.errors import StoreMissing
from search.types import Document, Entry, Location, Passage, Source, StoreInfo


class Spoken:
    """Progress that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, records: int) -> None: ...

    def add_embedded(self, passages: int) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)


class Bench:
    """Runs jobs over a memory store, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.said = Spoken()
        self.settings = config.load({"store": folder / "store.db"}, {}, [])

    def __call__(self, *lines: object, **job: Any) -> Summary:
        path = self.folder / "in.jsonl"
        path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines))
        return self.read(path, **job)

    def read(self, path: Path, **job: Any) -> Summary:
        return self.read_all([str(path)], **job)

    def read_all(self, inputs: list[str], **job: Any) -> Summary:
        rejects = self.folder / "rejects.jsonl"
        return run.ingest(
            Job(inputs, self.settings, Options(), FieldNames(), rejects, **job), self.said
        )

    def rejects(self) -> list[dict[str, Any]]:
        path = self.folder / "rejects.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def sources(self) -> dict[str, str]:
        """Where each document came from, by the file's path below the folder."""
        listed = self.store.documents()
        return {
            one.id: str(Path(one.source.file).relative_to(self.folder))
            for one in listed
            if one.source
        }


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(tmp_path)
    monkeypatch.setattr(
        run, "open_store", lambda settings, create=False, on_embedded=None: bench.store
    )
    monkeypatch.setattr(run, "load_embedder", lambda settings: FakeEmbedder())
    return bench


def counted(summary: Summary) -> tuple[int, int, int]:
    counts = summary.counts
    assert counts.read == counts.stored + counts.unchanged + counts.rejected
    return counts.stored, counts.unchanged, counts.rejected


def doc(document_id: object, text: str = "some text", **fields: Any) -> dict[str, Any]:
    return {"id": document_id, "text": text, **fields}


def test_the_same_input_twice_is_a_no_op(bench: Bench) -> None:
    lines = [doc(i, title="T", year=2000 + i) for i in range(300)]
    assert counted(bench(*lines)) == (300, 0, 0)
    puts = bench.store.puts
    assert counted(bench(*lines)) == (0, 300, 0)
    assert bench.store.puts == puts


@pytest.mark.parametrize(
    "change", [{"text": "other"}, {"title": "other"}, {"year": 1}, {"more": 1}]
)
def test_a_change_of_anything_stores_it_anew(bench: Bench, change: dict[str, Any]) -> None:
    record = doc("a", title="T", year=2000)
    bench(record, doc("b"))
    assert counted(bench(record | change, doc("b"))) == (1, 1, 0)


def test_other_passages_are_stored_anew(bench: Bench) -> None:
    bench(doc("a"))
    bench.settings = bench.settings.model_copy(update={"chunk_overlap": 3})
    assert counted(bench(doc("a"))) == (1, 0, 0)


def test_bad_records_are_rejected_and_the_rest_goes_in(bench: Bench) -> None:
    summary = bench(doc("a"), '{"id": ', doc("a", "again"), doc("b", ""), doc("c"))
    assert counted(summary) == (2, 0, 3)
    assert set(bench.store.entries) == {"a", "c"}
    assert bench.store.entries["a"].document.text == "some text"
    place = str(bench.folder / "in.jsonl")
    duplicate = f"duplicate id 'a'; the record at {place}:1 is used"
    assert bench.rejects()[1] == {
        "_reject": {"reason": duplicate, "file": place, "line": 3},
        **doc("a", "again"),
    }
    assert f"rejected {place}:3: {duplicate}" in bench.said.lines
    assert summary.rejects == bench.folder / "rejects.jsonl"


def test_rejects_are_mended_and_fed_back(bench: Bench) -> None:
    bench(doc("a"), '{"id": "b", "text": "b"', doc("c", ""))
    path = bench.folder / "rejects.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["_raw"] += "}"
    lines[1]["text"] = "c"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert counted(bench.read(path)) == (2, 0, 0)
    assert set(bench.store.entries) == {"a", "b", "c"}
    assert "_reject" not in bench.store.entries["c"].document.metadata


def test_a_rejects_file_may_be_its_own_input(bench: Bench) -> None:
    bench(doc("a", ""), doc("b", ""))
    path = bench.folder / "rejects.jsonl"
    before = path.read_text()
    path.write_text(before.replace('"text": ""', '"text": "mended"', 1))
    assert counted(bench.read(path)) == (1, 0, 1)
    assert [line["id"] for line in bench.rejects()] == ["b"]
    assert "mended" in (bench.folder / "rejects.jsonl.old").read_text()


def test_a_decimal_survives_the_rejects_file(bench: Bench) -> None:
    bench('{"id": 1.50, "text": "", "n": [2.50, {"x": 1}]}')
    assert '"id": 1.50' in (bench.folder / "rejects.jsonl").read_text()
    assert '"n": [2.50, {"x": 1}]' in (bench.folder / "rejects.jsonl").read_text()


def test_no_rejections_make_no_file(bench: Bench) -> None:
    assert bench(doc("a")).rejects is None
    assert [path.name for path in bench.folder.glob("rejects*")] == []


def test_only_the_first_rejections_are_shown(bench: Bench) -> None:
    summary = bench(*[doc(i, "") for i in range(50)])
    assert counted(summary) == (0, 0, 50)
    assert len(bench.said.lines) == pipeline.REJECTIONS_SHOWN + 1
    assert len(bench.rejects()) == 50


def test_what_the_store_refuses_or_loses_is_rejected(bench: Bench) -> None:
    bench.store.refused, bench.store.lost = {"1"}, {"2"}
    assert counted(bench(*[doc(i) for i in range(4)])) == (2, 0, 2)
    reasons = [line["_reject"]["reason"] for line in bench.rejects()]
    assert reasons == ["the store is in a bad mood", "the store took it, but does not hold it"]


def test_a_store_that_loses_documents_under_the_run_is_a_problem(bench: Bench) -> None:
    put = bench.store.put

    def put_and_lose(entries: Any) -> Any:
        failures = put(entries)
        bench.store.describe = lambda: StoreInfo("m", "m", 1, 1, None, "1")  # type: ignore[method-assign]
        return failures

    bench.store.put = put_and_lose  # type: ignore[method-assign]
    problem = bench(doc("a"), doc("b")).problem
    assert problem is not None
    assert "the store holds 1 documents, fewer than" in problem


def test_prune_removes_what_is_gone(bench: Bench) -> None:
    bench(*[doc(i) for i in range(5)])
    summary = bench(doc(1), doc(3, "changed"), prune=True)
    assert counted(summary) == (1, 1, 0)
    assert summary.counts.removed == 3
    assert set(bench.store.entries) == {"1", "3"}


def test_prune_removes_what_a_killed_run_left_half(bench: Bench) -> None:
    bench(doc("a"), doc("b"))
    bench.store.half = {"c": Source(str(bench.folder / "in.jsonl"), 9)}
    assert bench(doc("a"), dry_run=True, prune=True).counts.removed == 2
    summary = bench(doc("a"), prune=True)
    assert summary.problem is None
    assert summary.counts.removed == 2
    assert list(bench.store.ids()) == ["a"]


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


def write(bench: Bench, name: str, *lines: dict[str, Any]) -> Path:
    path = bench.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


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


def test_a_rejected_record_leaves_its_id_free(bench: Bench) -> None:
    assert counted(bench(doc("a", ""), doc("a", "good"))) == (1, 0, 1)


def test_a_dry_run_touches_nothing(bench: Bench) -> None:
    summary = bench(doc("a"), doc("b", ""), dry_run=True)
    assert counted(summary) == (1, 0, 1)
    assert [path.name for path in bench.folder.iterdir()] == ["in.jsonl"]
    bench(doc("a"), doc("b"))
    summary = bench(doc("a"), doc("c"), dry_run=True, prune=True)
    assert counted(summary) == (1, 1, 0)
    assert summary.counts.removed == 1
    assert set(bench.store.entries) == {"a", "b"}


def test_a_dry_run_needs_no_store(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a class in Weaviate, too, that the first ingest is to make."""

    def missing(settings: config.Settings, **options: Any) -> Any:
        raise StoreMissing("there is no class yet")

    monkeypatch.setattr(run, "open_store", missing)
    summary = bench(doc("a"), dry_run=True, prune=True)
    assert (counted(summary), summary.store) == ((1, 0, 0), None)
    with pytest.raises(StoreMissing):
        bench(doc("a"))


def test_an_interrupt_keeps_what_is_stored(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    put = bench.store.put

    def put_once(entries: Any) -> Any:
        if bench.store.puts:
            raise KeyboardInterrupt
        return put(entries)

    monkeypatch.setattr(bench.store, "put", put_once)
    lines = [doc(i) for i in range(2 * BATCH_DOCUMENTS)]
    with pytest.raises(run.Interrupted) as stop:
        bench('{"id": ', *lines)
    assert stop.value.counts.stored == BATCH_DOCUMENTS
    assert len(bench.rejects()) == 1
    monkeypatch.setattr(bench.store, "put", put)
    assert counted(bench(*lines)) == (BATCH_DOCUMENTS, BATCH_DOCUMENTS, 0)


def prepared(text: str) -> Prepared:
    return Prepared(Cleaned(Document("i", "", text)), "h", Record({}, "f"))


def test_batches_are_bounded() -> None:
    many = [prepared("x")] * (2 * BATCH_DOCUMENTS + 1)
    assert [len(batch) for batch in batches(many)] == [BATCH_DOCUMENTS, BATCH_DOCUMENTS, 1]
    large = [prepared("x" * (BATCH_CHARACTERS // 2))] * 3
    assert [len(batch) for batch in batches(large)] == [2, 1]


VALUES = st.one_of(st.text(max_size=3), st.integers(-2, 2), st.booleans())


@given(st.dictionaries(st.text(max_size=2), VALUES, max_size=3))
def test_the_content_hash_knows_content_not_order_or_id(metadata: dict[str, Any]) -> None:
    def hashed(
        document_id: str, title: str, text: str, fields: dict[str, Any], *marks: Mark, cut: int = 3
    ) -> str:
        chunker = Chunker(FakeEmbedder.tokenizer, cut, "en")
        return content_hash(Cleaned(Document(document_id, title, text, fields), marks), chunker)

    one = hashed("1", "t", "x", metadata)
    assert one == hashed("2", "t", "x", dict(reversed(metadata.items())))
    assert one != hashed("1", "tx", "", metadata)
    assert one != hashed("1", "t", "x", metadata, cut=4)
    assert one != hashed("1", "t", "x", metadata, Mark(0, Location(1)))


def test_the_content_hash_of_a_record_is_that_of_earlier_versions() -> None:
    whole = Cleaned(Document("1", "t", "x", {"year": 2018}))
    chunker = Chunker(FakeEmbedder.tokenizer, 3, "en")
    assert content_hash(whole, chunker) == "cb726ed298d2040b68e2a2b70f31f236"
    assert (
        content_hash(whole, Chunker(FakeEmbedder.tokenizer, 3, "de"))
        != "cb726ed298d2040b68e2a2b70f31f236"
    )
