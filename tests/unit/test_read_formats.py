"""Every format gives the same records, and says where a record that it cannot give lies."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading
import zlib
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.fields import FieldNames, to_document
from ingest.read import read, reader_of
from ingest.read.jsonl import parse
from ingest.read.source import InputFile, Meter, Options
from ingest.read.walk import FORMATS, Skipped, check_inputs
from ingest.record import Record, RecordError, Rejection, Section
from search.errors import MissingExtra


def items(path: Path, **options: Any) -> list[Record | Rejection]:
    return list(read([str(path)], Options(**options), Skipped()))


def records(path: Path, **options: Any) -> list[Record]:
    found = items(path, **options)
    assert all(isinstance(item, Record) for item in found), found
    return [item for item in found if isinstance(item, Record)]


def rejection(path: Path, **options: Any) -> Rejection:
    (item,) = (item for item in items(path, **options) if isinstance(item, Rejection))
    return item


def whole(path: Path, **options: Any) -> tuple[str, str]:
    """(title, text) of a file that is one document."""
    (record,) = records(path, **options)
    assert record.whole is not None
    return record.whole.title, "\n\n".join(part.text for part in record.whole.sections)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


TWO = [{"id": "1", "text": "one"}, {"id": "2", "text": "two ü"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"id": "1", "text": "one"}\n\n{"id": "2", "text": "two ü"}'),
        ("a.ndjson", '{"id": "1", "text": "one"}\r\n{"id": "2", "text": "two ü"}\r\n'),
        ("a.json", '[{"id": "1", "text": "one"}, {"id": "2", "text": "two ü"}]'),
        ("b.json", '{"n": {"a": [1]}, "documents": ' + json.dumps(TWO) + ', "documents2": []}'),
        ("c.json", '{"id": "1", "text": "one"}\n{"id": "2", "text": "two ü"}'),
        ("a.csv", 'id,text\r\nx1,one\r\nx2,"two ü"\r\n'),
        ("semicolon.csv", "id;text\nx1;one\nx2;two ü\n"),
        ("a.tsv", "id\ttext\nx1\tone\nx2\ttwo ü\n"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_records_of_every_format(
    tmp_path: Path, name: str, content: str, packed: bool, encoding: str
) -> None:
    data = content.encode(encoding)
    path = write(tmp_path / name, data)
    if packed:
        path = write(tmp_path / f"{name}.gz", gzip.compress(data))
    expected = [{**r, "id": r["id"].replace("x", "")} for r in TWO]
    found = [dict(record.fields) for record in records(path)]
    assert [{**r, "id": r["id"].replace("x", "")} for r in found] == expected


def test_lines_are_named(tmp_path: Path) -> None:
    pretty = json.dumps(TWO, indent=1)  # "[", then "{" on lines 2 and 6
    assert [r.line for r in records(write(tmp_path / "a.json", pretty))] == [2, 6]
    rows = 'id,text\n1,"a\nb"\n2,c\n'
    assert [r.line for r in records(write(tmp_path / "a.csv", rows))] == [2, 4]
    lines = '{"a": 1}\n\n{"a": 2}\n'
    assert [r.line for r in records(write(tmp_path / "a.jsonl", lines))] == [1, 3]


def test_a_broken_line_hides_no_other(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'{"a": 1}\n{"a": \n{"a": "\xe9"}\n[1]\n"x"\n{"a": 2}')
    found = items(path)
    good = [item.line for item in found if isinstance(item, Record)]
    bad = {item.line: item for item in found if isinstance(item, Rejection)}
    assert good == [1, 6]
    assert "broken JSON at column 6" in bad[2].reason
    assert bad[2].raw == '{"a":'
    assert "byte 23 (0xe9) is not valid UTF-8" in bad[3].reason
    assert "--encoding" in bad[3].reason
    assert "found a list, expected a JSON object" in bad[4].reason
    assert "found a string" in bad[5].reason
    assert not any(item.incomplete for item in bad.values())


def test_another_encoding_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": "é"}\n'.encode("latin-1"))
    assert records(path, encoding="latin-1")[0].fields == {"a": "é"}
    assert rejection(path).line == 1
    path = write(tmp_path / "a.txt", "日本".encode("shift-jis"))
    assert whole(path, encoding="shift-jis")[1] == "日本"
    assert "byte 0 or just before it is not valid ascii" in rejection(path, encoding="ascii").reason


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_a_record_larger_than_the_limit(tmp_path: Path, name: str) -> None:
    huge = "x" * 200_000  # more than the parser reads at a time
    content = {
        "a.jsonl": f'{{"text": "a"}}\n{{"text": "{huge}"}}\n{{"text": "b"}}\n',
        "a.json": f'[{{"text": "a"}}, {{"text": "{huge}"}}, {{"text": "b"}}]',
        "a.csv": f"text\na\n{huge}\nb\n",
        "a.txt": huge,
    }[name]
    found = items(write(tmp_path / name, content.replace("}, ", "},\n")), max_record_bytes=1000)
    bad = [item for item in found if isinstance(item, Rejection)]
    assert len(bad) == 1
    assert "larger than 0.000953674 MiB" in bad[0].reason
    assert "--max-record-mb" in bad[0].reason
    good = [item.fields["text"] for item in found if isinstance(item, Record)]
    assert good == {"a.jsonl": ["a", "b"], "a.csv": ["a", "b"], "a.json": ["a"], "a.txt": []}[name]


@pytest.mark.parametrize(
    "content", ["[", '[{"a": 1}, {"a"', '[{"a": 1} {"a": 2}]', '{"a": NaN}', "nonsense", "[" * 5000]
)
def test_broken_json_files(tmp_path: Path, content: str) -> None:
    found = rejection(write(tmp_path / "a.json", content))
    assert "JSON" in found.reason
    assert found.incomplete


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt", "a.md", "a.html", "a.pdf"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, name: str) -> None:
    found = rejection(write(tmp_path / name, b""))
    assert found.reason == "the file is empty"
    assert found.incomplete


@pytest.mark.parametrize(
    ("name", "content"), [("a.json", "[]"), ("a.jsonl", "\n\n"), ("a.csv", "a,b\n")]
)
def test_a_file_without_records_says_so(tmp_path: Path, name: str, content: str) -> None:
    assert rejection(write(tmp_path / name, content)).reason == "the file holds no records"


def test_gzip_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    lines = "".join(f'{{"n": {i * 7919 % 100_003}}}\n' for i in range(50_000)).encode()
    path = write(tmp_path / "a.jsonl.gz", gzip.compress(lines)[:-20_000])
    found = items(path)
    assert len(found) > 1000
    assert isinstance(found[-1], Rejection)
    assert "cut short" in found[-1].reason
    assert found[-1].incomplete
    path = write(tmp_path / "b.jsonl.gz", b"plain")
    assert "is not gzip" in rejection(path).reason


def test_csv_numbers_become_numbers_and_codes_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b,c,d,e,f,\n2018,007,1.50,-3,1e5,,x\n")
    (record,) = records(path)
    assert record.fields == {"a": 2018, "b": "007", "c": Decimal("1.50"), "d": -3, "e": "1e5"}
    assert str(record.fields["c"]) == "1.50"


def test_csv_rows_that_do_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'a,b\n1\n1,2,3\n"x"y,2\n4,5\n')
    found = items(path)
    assert [item.line for item in found if isinstance(item, Record)] == [5]
    reasons = [item.reason for item in found if isinstance(item, Rejection)]
    assert reasons[:2] == ["found 1 cells, the header has 2", "found 3 cells, the header has 2"]
    assert "broken CSV, lines 4 to 4" in reasons[2]


def test_an_open_quote_makes_the_file_incomplete(tmp_path: Path) -> None:
    found = rejection(write(tmp_path / "a.csv", 'a,b\n1,"open\n2,3\n4,5\n'))
    assert "open quote" in found.reason
    assert found.incomplete


def test_a_header_that_names_a_column_twice(tmp_path: Path) -> None:
    assert "'a' more than once" in rejection(write(tmp_path / "a.csv", "a,b,a\n1,2,3\n")).reason


def test_markdown(tmp_path: Path) -> None:
    path = write(tmp_path / "a.md", "# Head\n\nSee [it](http://x) *now*: `<b>`\n")
    assert whole(path) == ("Head", "Head\n\nSee it now: <b>")
    path = write(tmp_path / "b.md", "intro\n\n## Head *line*\n\n---\n\nbody")
    assert whole(path) == ("Head line", "intro\n\nHead line\n\nbody")
    assert whole(write(tmp_path / "c.md", "no heading"))[0] == "c"
    assert whole(write(tmp_path / "walk.py", "import os"))[0] == "walk.py"
    assert whole(write(tmp_path / "NEWS.Debian.gz", gzip.compress(b"news")))[0] == "NEWS.Debian"
    table = "| a | b |\n|---|---|\n| c | *d* |\n\n<p>raw &amp; <b>bold</b></p>\n\n"
    table += "- one\n- two<br>three\n"
    text = "a b\n\nc d\n\nraw & bold\n\none\n\ntwo\nthree"
    assert squeeze(whole(write(tmp_path / "d.md", table))[1]) == squeeze(text)


def test_front_matter_is_metadata(tmp_path: Path) -> None:
    front = (
        "title: Front\ntags: [x, y]\nid: intro\ntext: other\nyear: 2018\ncode: 007\nrate: 1.5\n"
        "draft: true\nquoted: '2018'\ndate: 2018-01-02\nnone:\nyes: no\n"
    )
    (record,) = records(write(tmp_path / "a.md", f"---\n{front}---\n# Head\n\nbody\n"))
    assert record.fields == {
        "tags": ["x", "y"],
        "id": "intro",
        "text": "other",
        "year": 2018,
        "code": "007",
        "rate": 1.5,
        "draft": True,
        "quoted": "2018",
        "date": "2018-01-02",
        "none": None,
        "yes": "no",
    }
    assert record.whole is not None
    assert record.whole.id == str(tmp_path / "a.md")
    assert record.whole.title == "Front"
    assert [(part.text, part.line) for part in record.whole.sections] == [
        ("Head", 15),
        ("body", 17),
    ]


@pytest.mark.parametrize(
    "front",
    [
        "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]",
        "a: " + "[" * 5000,
        "a: !!int x",
        "- no\n- mapping",
        "a: b: c",
    ],
)
def test_what_is_no_simple_front_matter_is_text(tmp_path: Path, front: str) -> None:
    (record,) = records(write(tmp_path / "a.md", f"---\n{front}\n---\nbody\n"))
    assert record.fields == {}
    assert "body" in whole(tmp_path / "a.md")[1]


def squeeze(text: str) -> str:
    return " ".join(text.split())


def test_sections_say_where_they_stand(tmp_path: Path) -> None:
    def sections(name: str, content: str) -> list[tuple[str, int | None, str]]:
        (record,) = records(write(tmp_path / name, content))
        assert record.whole is not None
        return [(squeeze(s.text), s.line, s.heading) for s in record.whole.sections]

    assert sections("a.txt", "\n\none\ntwo\r\n \r\nthree\n") == [
        ("one two", 3, ""),
        ("three", 6, ""),
    ]
    assert sections("a.md", "# H\n\np\n\n```\ncode\n```\n\n## I\n* a\n* b\n") == [
        ("H", 1, "H"),
        ("p", 3, "H"),
        ("code", 6, "H"),
        ("I", 9, "I"),
        ("a", 10, "I"),
        ("b", 11, "I"),
    ]
    assert sections("a.html", "<p>p<h1>H <i>1</i></h1>q<h2>I</h2>r") == [
        ("p", None, ""),
        ("H 1 q", None, "H 1"),
        ("I r", None, "I"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "title", "headings"),
    [
        (
            "a.rst",
            "=====\nTitle\n=====\n\ntext\n\nNext\n----\ntext",
            "Title",
            ["Title"] * 2 + ["Next"],
        ),
        ("a.org", "#+TITLE: Title\n\n* Head\ntext\n\nmore", "Title", ["Title", "Head", "Head"]),
        ("a.adoc", "= Title\n\ntext", "Title", ["Title", "Title"]),
        ("a.txt", "text\n\nHead\n====\n\nmore", "a", ["", "Head", "Head"]),
        ("a.txt", "a  b\n-- --\n1  2\n\n= no\n\n* no\n\n-----\n", "a", [""] * 4),
    ],
)
def test_headings_of_plain_text(
    tmp_path: Path, name: str, content: str, title: str, headings: list[str]
) -> None:
    (record,) = records(write(tmp_path / name, content))
    assert record.whole is not None
    assert record.whole.title == title
    assert [section.heading for section in record.whole.sections] == headings


def test_html(tmp_path: Path) -> None:
    page = "<html><head><meta charset='latin-1'><title>T &amp; C</title></head><p>é <b>b</b>old</p>"
    title, text = whole(write(tmp_path / "a.html", page.encode("latin-1")))
    assert (title, text.strip()) == ("T & C", "é bold")
    assert whole(write(tmp_path / "b.htm", "<h1>Only heading</h1><p>x"))[0] == "Only heading"
    wrong = write(tmp_path / "c.html", b"<meta charset='utf-8'><p>\xe9</p>")
    assert "not valid utf-8" in rejection(wrong).reason


@pytest.mark.parametrize(
    ("declared", "data"),
    [
        ("iso-8859-1", "“curly” – é".encode("cp1252")),
        ("us-ascii", "“curly” – é".encode("cp1252")),
        ("iso-8859-1", "“curly” – é".encode("utf-8-sig")),
        ("iso-8859-1", "“curly” – é".encode("utf-16")),
        ("utf-8", "“curly” – é".encode("utf-16")),
        ("utf-16", "“curly” – é".encode()),
        ("undefined", "“curly” – é".encode()),
        ("base64", "“curly” – é".encode()),
        ("no-such-thing", "“curly” – é".encode()),
        ("gb2312", "“curly” – é".encode("gb18030")),
    ],
)
def test_a_page_is_decoded_as_browsers_do(tmp_path: Path, declared: str, data: bytes) -> None:
    head = f'<meta charset="{declared}"><p>'
    if data.startswith((b"\xff\xfe", b"\xef\xbb\xbf")):
        encoding = "utf-16" if data[0] == 0xFF else "utf-8-sig"
        content = (head + data.decode(encoding)).encode(encoding)
    else:
        content = head.encode() + data
    assert whole(write(tmp_path / "a.html", content))[1].strip() == "“curly” – é"


def test_utf16_without_a_mark(tmp_path: Path) -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        path = write(tmp_path / "a.txt", "plain text".encode(encoding))
        assert whole(path, encoding="utf-16")[1] == "plain text"
    assert whole(write(tmp_path / "b.txt", "“text”".encode("utf-32")))[1] == "“text”"
    odd = write(tmp_path / "c.txt", "text".encode("utf-16")[:-1])
    assert "is not valid utf-16" in rejection(odd).reason


def test_docx(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx", reason="the extra 'docx' is not installed")
    document = docx.Document()
    document.add_heading("Heading", 1)
    document.add_paragraph("First.")
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "left", "right"
    document.add_paragraph("Last.")
    document.save(str(tmp_path / "a.docx"))
    assert whole(tmp_path / "a.docx") == ("Heading", "Heading\n\nFirst.\n\nleft right\n\nLast.")
    (record,) = records(tmp_path / "a.docx")
    assert record.whole is not None
    assert {section.heading for section in record.whole.sections} == {"Heading"}
    broken = write(tmp_path / "b.docx", b"PK\x03\x04nonsense")
    assert "broken DOCX" in rejection(broken).reason


def pdf_of(text: str, title: str = "") -> bytes:
    """The smallest PDF that shows one line."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R"
        b"/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Title(%s)>>" % title.encode(),
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer\n<</Size 7/Root 1 0 R/Info 6 0 R>>\nstartxref\n%d\n%%%%EOF" % len(body)
    return body + b"xref\n0 7\n0000000000 65535 f \n" + table + trailer


def test_pdf(tmp_path: Path) -> None:
    pytest.importorskip("pypdf", reason="the extra 'pdf' is not installed")
    (record,) = records(write(tmp_path / "a.pdf", pdf_of("Heart disease", "A title")))
    assert record.whole is not None
    assert record.whole.title == "A title"
    assert record.whole.sections == (Section("Heart disease", page=1),)
    assert "OCR" in rejection(write(tmp_path / "b.pdf", pdf_of(""))).reason
    assert "broken PDF" in rejection(write(tmp_path / "c.pdf", b"%PDF-1.4 nonsense")).reason
    assert "broken PDF" in rejection(write(tmp_path / "d.pdf", b"nonsense")).reason


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("a.pdf", "pypdf", "pdf"), ("a.docx", "docx", "docx")]
)
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert f"[{extra}]" in rejection(write(tmp_path / name, b"x")).reason


def test_standard_input_is_jsonl() -> None:
    options = Options(stdin=io.BytesIO(gzip.compress(b'{"a": 1}\n{"a": 2}')))
    found = list(read(["-"], options, Skipped()))
    assert [item.line for item in found if isinstance(item, Record)] == [1, 2]
    assert found[0].file == "standard input"


def test_the_meter_counts_compressed_bytes(tmp_path: Path) -> None:
    data = gzip.compress(b'{"a": 1}\n' * 10_000)
    meter = Meter(total=len(data))
    list(read([str(write(tmp_path / "a.jsonl.gz", data))], Options(meter=meter), Skipped()))
    assert meter.done == len(data)


def test_a_rejects_file_can_be_read(tmp_path: Path) -> None:
    note = {"reason": "r", "file": "f", "line": 3}
    lines = [
        {"_reject": note, "id": "1", "text": "mended"},
        {"_reject": note, "_raw": '{"id": "2", "text": "mended"}'},
        {"_reject": note, "_raw": '{"id": '},
        {"_reject": note},
    ]
    path = write(tmp_path / "rejects.jsonl", "\n".join(map(json.dumps, lines)))
    found = items(path)
    fields = [dict(item.fields) for item in found if isinstance(item, Record)]
    assert fields == [{"id": "1", "text": "mended"}, {"id": "2", "text": "mended"}]
    reasons = [item.reason for item in found if isinstance(item, Rejection)]
    assert "_raw is not mended yet" in reasons[0]
    assert reasons[1].endswith("f:3: r")


def test_a_note_is_not_wrapped_up_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", '{"_reject": {"reason": "broken PDF", "file": "a.pdf"}}')
    first = rejection(path).reason
    write(path, json.dumps({"_reject": {"reason": first, "file": str(path), "line": 1}}))
    assert rejection(path).reason == first


def test_numbers_beyond_json_are_read() -> None:
    assert parse('{"a": NaN, "b": 1e400, "c": 1.50}') == {
        "a": None,
        "b": Decimal("1e400"),
        "c": Decimal("1.50"),
    }
    deep = "[" * 100_000
    with pytest.raises(Exception, match="nested too deeply"):
        parse(deep)


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


def test_a_pipe_is_read_as_a_stream(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_inputs([str(pipe)], Options())
    writer = threading.Thread(target=pipe.write_text, args=('{"id": 1, "text": "x"}\n',))
    writer.start()
    assert [record.fields["id"] for record in records(pipe)] == [1]
    writer.join()


def test_a_format_can_be_forced(tmp_path: Path) -> None:
    path = write(tmp_path / "notes", "# Head\n\n*text*")
    assert whole(path, format="markdown") == ("Head", "Head\n\ntext")
    options = Options(stdin=io.BytesIO(b"a,text\n1,x\n"), format="csv")
    (record,) = read(["-"], options, Skipped())
    assert isinstance(record, Record)
    assert record.fields == {"a": 1, "text": "x"}


def test_a_table_needs_a_header(tmp_path: Path) -> None:
    assert "no header" in rejection(write(tmp_path / "a.csv", "\n\n")).reason
