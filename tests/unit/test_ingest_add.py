"""Records that a program holds: stored under the same promises as those of files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ingest_fakes import MemoryStore, WordTokenizer

import config
from ingest.add import Adder
from search.errors import StoreUnavailable
from search.store.lock import only_writer
from search.types import Source


@pytest.fixture
def settings(tmp_path: Path) -> config.Settings:
    return config.load({"store": str(tmp_path / "store.db")}, files=[])


def test_records_are_stored_and_the_same_again_is_no_change(settings: config.Settings) -> None:
    store = MemoryStore()
    adder = Adder(settings, store, WordTokenizer())
    record = {"_id": "a", "title": "Walking", "text": "Walk daily.", "metadata": {"year": 2020}}
    assert [outcome.status for outcome in adder.add([record])] == ["stored"]
    document = store.entries["a"].document
    assert (document.title, document.metadata, document.source) == ("Walking", {"year": 2020}, None)
    assert [outcome.status for outcome in adder.add([record])] == ["unchanged"]
    assert [o.status for o in adder.add([record | {"text": "Walk often."}])] == ["stored"]
    assert store.entries["a"].document.text == "Walk often."


def test_what_cannot_be_stored_is_returned_with_its_number_and_reason(
    settings: config.Settings,
) -> None:
    store = MemoryStore()
    store.refused = {"c"}
    records = [{"_id": "a", "text": "x"}, {"_id": "b", "text": " "}, {"_id": "c", "text": "y"}]
    outcomes = Adder(settings, store, WordTokenizer()).add([*records, records[0]])
    assert {outcome.number: outcome.reason for outcome in outcomes} == {
        1: None,
        2: "field 'text' is empty, expected text",
        3: "the store is in a bad mood",
        4: "duplicate id 'a'; the record at documents:1 is used",
    }


def test_a_document_of_a_file_is_not_replaced(settings: config.Settings) -> None:
    store = MemoryStore()
    adder = Adder(settings, store, WordTokenizer())
    adder.add([{"_id": "a", "text": "x"}])
    entry = store.entries["a"]
    of_a_file = replace(entry.document, source=Source("/notes/a.md"))
    store.entries["a"] = replace(entry, document=of_a_file)
    (outcome,) = adder.add([{"_id": "a", "text": "other"}])
    assert outcome.reason == "id 'a' belongs to /notes/a.md; give it another id"


def test_another_writer_is_not_written_over(settings: config.Settings) -> None:
    with only_writer(settings), pytest.raises(StoreUnavailable, match="another process"):
        Adder(settings, MemoryStore(), WordTokenizer()).add([{"_id": "a", "text": "x"}])
