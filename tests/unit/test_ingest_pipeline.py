"""Every record ends stored, unchanged or rejected, also where a run is interrupted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest_bench import Bench, counted, doc
from ingest_fakes import FakeEmbedder

import config
from ingest import pipeline, run
from ingest.chunk import Chunker
from ingest.pipeline import BATCH_CHARACTERS, BATCH_DOCUMENTS, Prepared, batches, content_hash
from ingest.record import Cleaned, Mark, Record
from search.errors import StoreMissing
from search.types import Document, Location, StoreInfo


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


def test_a_record_given_twice_without_an_id_is_not_called_by_one(bench: Bench) -> None:
    record = {"text": "some text", "year": 2018}
    assert counted(bench(record, record, record | {"year": 2019})) == (2, 0, 1)
    reason = bench.rejects()[0]["_reject"]["reason"]
    assert reason == (
        f"the same record as {bench.folder / 'in.jsonl'}:1 "
        "(records without an id are known by their content)"
    )


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
