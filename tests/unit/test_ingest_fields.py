"""Which field is what, and metadata for the rest."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ingest.fields import FieldNames, known_id, to_document
from ingest.record import Mark, Record, RecordError, Section, WholeFile
from search.types import Document, Location


def document(names: FieldNames | None = None, **fields: Any) -> Document:
    return to_document(Record(fields, "file"), names or FieldNames()).document


def reason(names: FieldNames | None = None, **fields: Any) -> str:
    with pytest.raises(RecordError) as error:
        document(names, **fields)
    return str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"_id": "7", "title": "T", "text": "x"},
        {"id": 7, "name": "T", "body": "x"},
        {"DocID": "7", "Heading": "T", "Contents": "x"},
        {"uuid": "7", "question": "T", "answer": "x"},
        {"url": "7", "headline": "T", "abstract": "x", "text": ""},
        {"id": "7", "title": "T", "content": ["x"]},
    ],
)
def test_usual_names(fields: dict[str, Any]) -> None:
    found = document(**fields)
    assert (found.id, found.title, found.text) == ("7", "T", "x")


def test_named_fields_win_and_dots_reach_inside() -> None:
    names = FieldNames(id="code", title="head.line", text="parts.main")
    fields = {"code": "c", "id": 1, "head": {"line": "H"}, "parts": {"main": "M"}, "text": "other"}
    found = document(names, **fields)
    assert found == Document("c", "H", "M", {"id": 1, "text": "other"})
    assert "no field 'nope' for the text; there are 'id', 'a'" in reason(
        FieldNames(text="nope"), id=1, a=2
    )


@pytest.mark.parametrize("given", [" spaced ", "\u200bzero", "e\u0301", "<b>&amp;</b>", "x" * 1024])
def test_an_id_is_never_changed(given: str) -> None:
    assert document(id=given, text="x").id == given


@pytest.mark.parametrize(
    ("given", "spelt"), [(7, "7"), (10**30, "1" + "0" * 30), (Decimal("1.50"), "1.50"), (-0, "0")]
)
def test_a_number_as_id_is_spelt_as_in_json(given: object, spelt: str) -> None:
    assert document(id=given, text="x").id == spelt


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "the id is empty"),
        (" ", "the id is empty"),
        (True, "the id is True, expected a string or a number"),
        ([1], "expected a string or a number"),
        ("é" * 513, "the id has 1026 bytes, expected at most 1024"),
        ("a\0b", "cannot be stored"),
        ("\ud800", "cannot be stored"),
    ],
)
def test_ids_that_cannot_be(given: object, message: str) -> None:
    assert message in reason(id=given, text="x")


def test_a_record_without_id_has_the_same_one_each_time() -> None:
    first = document(title="a", text="x", id=None)
    assert first.id == document(text="x", title="a", id=None).id
    assert first.id != document(text="y", title="a", id=None).id
    assert len(first.id) == 32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": 1}, "no text: expected a field 'text' or the like; there are 'id'"),
        ({}, "there are no fields"),
        ({"text": "", "id": 1}, "field 'text' is empty"),
        ({"text": " <p> </p>&nbsp;\u200b"}, "field 'text' is empty"),
        ({"text": 12}, "field 'text' holds int 12, expected text"),
        ({"text": None, "id": 1}, "no text"),
    ],
)
def test_text_that_is_missing(fields: dict[str, Any], message: str) -> None:
    assert message in reason(**fields)


def test_everything_else_is_metadata() -> None:
    fields = {
        "year": 2020,
        "score": Decimal("0.5"),
        "open": True,
        "note": "<b>as is</b>",
        "gone": None,
        "tags": ["a", 1, None, Decimal("2.5")],
        "empty": [],
        "author": {"name": "N", "address": {"city": "C"}},
        "metadata": {"url": "http://x", "year": 1999},
        "parts": [{"a": 1}, [2]],
        "huge": 2**63,
        "beyond": Decimal("1e999"),
        "half\ud800": "nul\0",
    }
    assert document(id=1, text="x", **fields).metadata == {
        "year": 2020,
        "score": 0.5,
        "open": True,
        "note": "<b>as is</b>",
        "tags": ("a", 1, 2.5),
        "author.name": "N",
        "author.address.city": "C",
        "url": "http://x",
        "metadata.year": 1999,
        "parts": '[{"a": 1}, [2]]',
        "huge": "9223372036854775808",
        "beyond": "1E+999",
        "half\ufffd": "nul",
    }


def test_a_record_nested_too_deeply() -> None:
    nested: Any = 1
    for _ in range(100_000):
        nested = {"a": nested}
    assert reason(id=1, text="x", n=nested) == "the record is nested too deeply"


def test_a_whole_file_minds_no_field_names() -> None:
    parts = (Section("<p> one", 1, heading=" H"), Section(" ", 2), Section("two", page=2))
    whole = WholeFile("/sub/f.md", "Title", parts)
    record = Record({"id": "intro", "text": "other", "abstract": "a"}, "f.md", None, whole)
    names = FieldNames(id="code", title="head", text="abstract")
    metadata = {"id": "intro", "text": "other", "abstract": "a"}
    found = to_document(record, names)
    assert found.document == Document("/sub/f.md", "Title", "<p> one\n\ntwo", metadata)
    assert found.marks == (Mark(0, Location(1, heading="H")), Mark(9, Location(page=2)))
    assert known_id(record, names) == "/sub/f.md"
    assert record.rejected("why").fields is None


def test_a_pipe_that_is_one_document_is_known_by_its_content() -> None:
    first, same, other = (
        to_document(
            Record({}, "-", None, WholeFile("", "t", (Section(text),))), FieldNames()
        ).document.id
        for text in ("x", "x", "y")
    )
    assert first == same != other


def test_the_id_of_a_rejected_record() -> None:
    assert known_id(Record({"id": 5}, "f"), FieldNames()) == "5"
    assert known_id(Record({"id": ""}, "f"), FieldNames()) is None
