"""Every format gives the same records, and says where a record that it cannot give lies."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading
from decimal import Decimal
from pathlib import Path

import pytest
from read_files import items, records, rejection, whole, write

from ingest.fields import FieldNames, to_document
from ingest.read import read
from ingest.read.jsonl import parse
from ingest.read.source import Meter, Options
from ingest.read.walk import Skipped, check_inputs
from ingest.record import Record, RecordError, Rejection
from search.types import Document, Source

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


@pytest.mark.parametrize("listed", [["x.pdf"], [], [1, {"a": 2}]])
def test_a_record_may_have_a_field_called_documents(tmp_path: Path, listed: list[object]) -> None:
    lines = [{"id": "1", "documents": listed, "text": "one"}, {"id": "2", "text": "two"}]
    path = write(tmp_path / "a.json", "\n".join(map(json.dumps, lines)))
    assert [(item.fields, item.line) for item in records(path)] == [(lines[0], 1), (lines[1], 2)]
    assert records(write(path, json.dumps(lines)))[0].fields == lines[0]


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


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl", "a.html", "a.txt", "a.md"])
def test_a_byte_order_mark_is_right_whatever_encoding_is_named(tmp_path: Path, name: str) -> None:
    content = "id,text\n1,café" if name == "a.csv" else '{"id": "1", "text": "café"}'
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        path = write(tmp_path / name, content.encode(encoding))
        for named in ("latin-1", "utf-16", "utf-16-be"):
            found = str(records(path, encoding=named))
            assert "café" in found
            assert "\ufeff" not in found


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
    ("name", "content"),
    [("a.json", "[]"), ("b.json", '{"documents": []}'), ("a.jsonl", "\n\n"), ("a.csv", "a,b\n")],
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


def test_a_name_in_the_header_may_go_over_two_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,"text\r\n body",note\r\n1,hello,x\r\n2,again,y\r\n')
    found = [(item.fields, item.line) for item in records(path)]
    assert found == [
        ({"id": 1, "text body": "hello", "note": "x"}, 3),
        ({"id": 2, "text body": "again", "note": "y"}, 4),
    ]
    found_bad = rejection(write(path, 'id,"text\n1,hello\n'))
    assert "the header cannot be read" in found_bad.reason
    assert "open quote" in found_bad.reason
    assert found_bad.incomplete


def test_a_row_knows_the_columns_that_are_empty_in_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,Titel,Inhalt,\n1,What,some text,\n2,,longer,\n3,Third,,\n")
    first, second, third = records(path)
    assert first.columns == ("id", "Titel", "Inhalt")
    assert second.fields == {"id": 2, "Inhalt": "longer"}
    names = FieldNames(title="Titel", text="Inhalt")
    assert to_document(second, names).document == Document(
        "2", "", "longer", {}, Source(str(path), 3)
    )
    with pytest.raises(RecordError, match="field 'Inhalt' is empty, expected text"):
        to_document(third, names)
    with pytest.raises(RecordError, match=r"no field 'Title' .* 'id', 'Titel', 'Inhalt' "):
        to_document(second, FieldNames(title="Title", text="Inhalt"))
    named = to_document(second, FieldNames(id="Inhalt", text="Inhalt")).document
    assert named.metadata == {"id": 2}


def test_a_cell_that_is_a_number_can_be_the_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "question,answer\nWhat,42\nPi,3.140\nCode,007\n")
    texts = [to_document(item, FieldNames()).document.text for item in records(path)]
    assert texts == ["42", "3.140", "007"]


def test_a_header_that_names_a_column_twice(tmp_path: Path) -> None:
    assert "'a' more than once" in rejection(write(tmp_path / "a.csv", "a,b,a\n1,2,3\n")).reason


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


def test_what_is_not_mended_keeps_its_line_and_its_origin(tmp_path: Path) -> None:
    broken = '{"id": "b", "text": "broken'
    note = {"reason": "r", "file": "/data/a.jsonl", "line": 2}
    line = json.dumps({"_reject": note, "_raw": broken})
    path = tmp_path / "r.jsonl"
    wrapped = line
    for number in range(3):  # as earlier versions wrote it, each run around the last
        found = rejection(write(path, wrapped))
        assert (found.raw, found.source) == (broken, Source("/data/a.jsonl", 2))
        assert found.reason.startswith("_raw is not mended yet: broken JSON")
        assert (found.file, found.line) == (str(path), 1)
        mended = wrapped.replace("broken", "mended" + "\\" * (2 ** (number + 1) - 1) + '"}')
        (record,) = records(write(path, mended))
        assert record.fields == {"id": "b", "text": "mended"}
        assert record.source == Source("/data/a.jsonl", 2)
        outer = {"reason": "_raw is not mended yet", "file": str(path), "line": 1}
        wrapped = json.dumps({"_reject": outer, "_raw": wrapped})


def test_a_note_of_a_whole_file_stays_one(tmp_path: Path) -> None:
    note = {"reason": "broken PDF", "file": "/data/a.pdf", "line": None}
    path = write(tmp_path / "r.jsonl", json.dumps({"_reject": note}))
    found = rejection(path)
    assert found.reason.endswith("/data/a.pdf: broken PDF")
    assert (found.raw, found.source) == (None, Source("/data/a.pdf", None))


def test_numbers_beyond_json_are_read() -> None:
    assert parse('{"a": NaN, "b": 1e400, "c": 1.50}') == {
        "a": None,
        "b": Decimal("1e400"),
        "c": Decimal("1.50"),
    }
    deep = "[" * 100_000
    with pytest.raises(Exception, match="nested too deeply"):
        parse(deep)


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
