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
        ({"text": True}, "field 'text' holds true, expected text"),
        ({"text": ["a", 1]}, "field 'text' holds [\"a\", 1], expected text"),
        ({"text": float("nan")}, "field 'text' holds NaN, expected text"),
        ({"text": None, "id": 1}, "field 'text' is empty, expected text"),
    ],
)
def test_text_that_is_missing(fields: dict[str, Any], message: str) -> None:
    assert message in reason(**fields)


def test_a_number_is_text_as_it_was_written() -> None:
    numbers: list[tuple[Any, str]] = [(42, "42"), (Decimal("3.10"), "3.10"), (2.5, "2.5")]
    for given, spelt in numbers:
        assert document(question="T", answer=given).text == spelt


@pytest.mark.parametrize(
    ("fields", "title", "metadata"),
    [
        ({"subject": ["math", "physics"]}, "", {"subject": ("math", "physics")}),
        ({"title": ["A", "list"], "name": "Ann"}, "Ann", {"title": ("A", "list")}),
        ({"title": "", "subject": "biology"}, "", {"subject": "biology"}),
        ({"title": None, "subject": "biology"}, "biology", {}),
        ({"question": True}, "", {"question": True}),
        ({"title": Decimal("2.0")}, "2.0", {}),
    ],
)
def test_a_title_is_words_or_a_number(
    fields: dict[str, Any], title: str, metadata: dict[str, Any]
) -> None:
    found = document(text="x", **fields)
    assert (found.title, found.metadata) == (title, metadata)


def test_a_named_title_that_is_a_list_is_metadata() -> None:
    found = document(FieldNames(title="tags"), id=1, text="x", tags=["a"], title="other")
    assert (found.title, found.metadata) == ("", {"tags": ("a",), "title": "other"})


def test_the_field_with_the_empty_name_is_neither_id_nor_title() -> None:
    fields: list[dict[str, Any]] = [{"": number, "text": "x"} for number in (0, 1)]
    first, second = (document(**record) for record in fields)
    assert (len(first.id), first.title, first.metadata) == (32, "", {"": 0})
    assert first.id != second.id
    assert len(known_id(Record({"": 0}, "f"), FieldNames()) or "") == 32


def test_a_named_field_may_be_empty_but_not_misspelt() -> None:
    names = FieldNames(id="Nr", title="Titel", text="Inhalt")
    found = document(names, Nr=1, Titel=None, Inhalt="x", title="other")
    assert (found.title, found.metadata) == ("", {"title": "other"})
    assert reason(names, Nr=1, Titel="T", Inhalt=None) == "field 'Inhalt' is empty, expected text"
    assert reason(names, Nr=None, Titel="T", Inhalt="x") == "field 'Nr' is empty, expected an id"
    named = "found no field 'Titel' for the title; there are 'Nr', 'Inhalt' (--title-field NAME)"
    assert reason(names, Nr=1, Inhalt="x") == named


def test_of_two_spellings_the_one_with_a_value_is_taken() -> None:
    assert document(Text=None, text="x").text == "x"
    assert document(Text="y", text="x").text == "y"


def test_everything_else_is_metadata() -> None:
    fields: dict[str, Any] = {
        "year": 2020,
        "score": Decimal("0.5"),
        "rate": 4.5,
        "rates": [1, 2.5, float("inf")],
        "missing": float("nan"),
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
        "rate": 4.5,
        "rates": (1, 2.5, "inf"),
        "missing": "nan",
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
