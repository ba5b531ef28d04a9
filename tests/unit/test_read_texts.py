"""Files that are one document: titles, sections and text of Markdown, HTML, PDF and text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from ingest_fakes import WordTokenizer
from read_files import records, rejection, squeeze, whole, write

from ingest.chunk import Chunker
from ingest.clean import clean_text
from ingest.fields import FieldNames, to_document
from ingest.record import Section


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


def test_decimals_in_front_matter_are_numbers(tmp_path: Path) -> None:
    front = "title: 2.10\nrating: 4.5\nlist: [1, 2.5]\n"
    (record,) = records(write(tmp_path / "a.md", f"---\n{front}---\nbody\n"))
    found = to_document(record, FieldNames()).document
    assert (found.title, found.metadata) == ("2.10", {"rating": 4.5, "list": (1, 2.5)})
    assert isinstance(found.metadata["rating"], float)


@pytest.mark.parametrize(
    "front",
    [
        "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]",
        "a: " + "[" * 5000,
        "a: !!int x",
        "a: !!float x",
        "- no\n- mapping",
        "a: b: c",
    ],
)
def test_what_is_no_simple_front_matter_is_text(tmp_path: Path, front: str) -> None:
    (record,) = records(write(tmp_path / "a.md", f"---\n{front}\n---\nbody\n"))
    assert record.fields == {}
    assert "body" in whole(tmp_path / "a.md")[1]


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


CODE = "L\n    L\n\n    L\n\n\nL\n\n\n\n\tL\nL\n \n\n\nL\nL\n\nL"


@pytest.mark.parametrize(
    ("name", "before", "indent", "after"),
    [
        ("a.md", "# L\n\n```python\n", "", "\n```\n\nL\n"),
        ("a.md", "---\na: b\n---\nL\n\n```\n\n\n\n", "", "\n\n```\n# L\n"),
        ("a.md", "- L\n\n  ~~~\n\n", "  ", "\n\n\n  ~~~\n\n  L\n"),
        ("a.md", "L\n\n", "    ", "\n\n\n\nL\n"),
        ("a.txt", "\n", "", "\n"),
        ("a.txt", " \n\t\n\n", " ", "\n\n\nL"),
    ],
)
def test_a_passage_says_its_line_in_the_file(
    tmp_path: Path, name: str, before: str, indent: str, after: str
) -> None:
    code = "\n".join(indent + line if line.strip() else line for line in CODE.splitlines())
    lines = f"{before}{code}{after}".split("\n")
    content = "\n".join(line.replace("L", f"L{n}") for n, line in enumerate(lines, 1))
    (record,) = records(write(tmp_path / name, content))
    cleaned = to_document(record, FieldNames())
    places = {
        int(passage.text.split()[0].removeprefix("L")): passage.location
        for passage in Chunker(Short(), 0, "en").passages(cleaned)
    }
    assert len(places) > 3
    assert {line: place and place.line for line, place in places.items()} == {n: n for n in places}


class Short(WordTokenizer):
    """A passage holds two words."""

    max_passage_tokens = 2


def test_cutting_code_at_long_gaps_changes_no_text(tmp_path: Path) -> None:
    code = "def a():\n    x\n\n    y\n\n\n\n\tdef  b():\n \n \u00a0\n    z"
    (record,) = records(write(tmp_path / "a.md", f"```\n\n\n{code}\n\n\n```\n"))
    assert to_document(record, FieldNames()).document.text == clean_text(code, plain=True)
    assert record.whole is not None
    assert [part.line for part in record.whole.sections] == [4, 11, 14]
    (record,) = records(write(tmp_path / "b.md", "```\nx\n\ny\n```\n"))
    assert record.whole is not None
    assert record.whole.sections == (Section("x\n\ny\n", 2),)  # as before: so is its hash


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
