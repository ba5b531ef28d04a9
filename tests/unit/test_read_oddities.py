"""No content of a file, however odd, crashes a reader or costs more than itself."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_files import items, rejection, write

from ingest.fields import FieldNames, to_document
from ingest.read import reader_of
from ingest.read.source import InputFile, Options
from ingest.read.walk import FORMATS
from ingest.record import Record, RecordError, Rejection
from search.errors import MissingExtra

PIECES = [
    *("{", "}", "[", "]", '"', "'", ":", ",", "\n", "\r", " ", "\\", "\ufeff", "\0", "\u2028"),
    *("\ud800", "1e99999999999999999999", "-", "NaN", "9" * 5000, "id", "text", '{"text": "x"}'),
    *("---\n", "a: ", "&a ", "*a", "!!int ", "!!python/name:os.system", "- ", "? ", "<<: ", "#"),
    *("<", ">", "</", "<!--", "-->", "<![ x ]>", "<p>", "<script>", "</script>", "<title>", "|"),
    *('<meta charset="', "undefined", "utf-16", "idna", "&#x110000;", "&amp", "=", "/", "```\n"),
]
ENCODINGS = [None, "utf-8", "utf-16", "utf-32", "latin-1", "idna", "utf-7", "punycode", "hz"]


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from(PIECES), max_size=40).map(
            lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
        ),
    ),
    st.sampled_from(FORMATS),
    st.sampled_from(ENCODINGS),
    st.booleans(),
)
def test_no_bytes_crash_a_reader(
    tmp_path_factory: pytest.TempPathFactory,
    data: bytes,
    form: str,
    encoding: str | None,
    packed: bool,
) -> None:
    """Each reader by itself, without the net that `read` is: it raises only what is foreseen."""
    path = write(tmp_path_factory.getbasetemp() / "fuzz", gzip.compress(data) if packed else data)
    file = InputFile(path, "fuzz", str(path), form)
    options = Options(encoding=encoding, max_record_bytes=100_000)
    try:
        for item in reader_of(file)(file, options):
            if isinstance(item, Record):
                with suppress(RecordError):
                    to_document(item, FieldNames())
    except (RecordError, OSError, EOFError, zlib.error, MissingExtra):
        pass


def test_whatever_a_reader_raises_is_a_rejection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("by accident")

    monkeypatch.setattr("ingest.read.text.read_page", fail)
    write(tmp_path / "a.html", "<p>x")
    write(tmp_path / "b.txt", "good")
    bad, good = items(tmp_path)
    assert isinstance(bad, Rejection)
    assert bad.reason == "the file cannot be read as html: by accident (ArithmeticError)"
    assert bad.incomplete
    assert isinstance(good, Record)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"n": 1e99999999999999999999}\n{"id": 1, "text": "good"}'),
        ("a.json", b'[{"id": 1, "text": "good"}, {"n": 1e99999999999999999999}]'),
        ("a.html", b"<![ x ]><p>good"),
        ("a.html", b'<meta charset="undefined"><p>good'),
        ("a.csv", b"id,text\r1,good\r2,good\r"),
        ("a.jsonl", '{"id": 1, "text": "good \u2028 line"}\n'.encode()),
    ],
)
def test_oddities_cost_no_more_than_themselves(tmp_path: Path, name: str, content: bytes) -> None:
    assert any("good" in str(item) for item in items(write(tmp_path / name, content)))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json", "a.txt"])
def test_a_wrong_encoding_leaves_the_file_incomplete(tmp_path: Path, name: str) -> None:
    found = rejection(write(tmp_path / name, b"abc\n" * 3 + b"\xff"), encoding="ascii")
    assert "not valid ascii; nothing after it was read" in found.reason
    assert found.incomplete


@pytest.mark.parametrize("before", [0, 65_530])  # the parser is fed in pieces of 65,536 bytes
def test_a_number_that_would_crash_the_parser(tmp_path: Path, before: int) -> None:
    content = f'{{"text": "{"x" * before}", "n": {"9" * 5000}}}'
    assert "digits in a row" in rejection(write(tmp_path / "a.json", content)).reason
