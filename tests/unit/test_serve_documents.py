"""Documents over HTTP: sent, listed, shown and deleted, in a real embedded store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from serve_bench import JSON_LINES, RECORDS, lines, serving

import config
from search.store.lock import only_writer


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with serving(tmp_path) as client:
        yield client


@pytest.fixture
def filled(client: TestClient) -> TestClient:
    assert lines(client.post("/documents", json=RECORDS))[-1]["summary"]["stored"] == 3
    return client


def test_each_record_has_its_end_in_a_line(filled: TestClient) -> None:
    again = [RECORDS[0], RECORDS[1] | {"text": "other words"}, {"id": "x"}, "text", RECORDS[2]]
    *ends, last = lines(filled.post("/documents", json=again))
    assert {end["number"]: (end["status"], end["id"]) for end in ends} == {
        1: ("unchanged", "walk"),
        2: ("rejected", "salt"),
        3: ("rejected", "x"),
        4: ("unchanged", "eye"),
        5: ("rejected", None),  # one for all that are no objects
    }
    summary = last["summary"]
    assert (summary["read"], summary["unchanged"], summary["rejected"]) == (5, 2, 3)
    reasons = [end["reason"] for end in ends if end["id"] == "salt"]
    assert reasons == ["id 'salt' belongs to upload:documents:1; take_over=true replaces it"]


def test_documents_are_replaced_only_when_that_is_meant(filled: TestClient) -> None:
    changed = [RECORDS[1] | {"text": "other words"}]
    assert lines(filled.post("/documents", json=changed))[0]["status"] == "rejected"
    assert lines(filled.post("/documents?take_over=true", json=changed))[0]["status"] == "stored"
    assert filled.get("/documents/salt").json()["passages"][0]["text"] == "other words"


def test_json_lines_with_a_bad_one_between(client: TestClient) -> None:
    body = b'{"id": "a", "text": "first"}\n{"id": \n\n{"id": "b", "text": "last"}\n'
    answer = client.post(
        "/documents?name=dump.jsonl", content=body, headers={"content-type": JSON_LINES}
    )
    *ends, last = lines(answer)
    assert {(end["status"], end["location"]) for end in ends} == {
        ("stored", "dump.jsonl:1"),
        ("rejected", "dump.jsonl:2"),
        ("stored", "dump.jsonl:4"),
    }
    assert last["summary"]["problem"] is None


def test_files_are_read_by_their_names(client: TestClient) -> None:
    files = [
        ("files", ("notes/heart.md", b"# The heart\n\nIt beats.\n")),
        ("files", ("table.csv", b"id,text\n1,one\n2,two\n")),
        ("files", ("picture.png", b"\x89PNG\r\n\x1a\n\x00\x00")),
    ]
    *ends, last = lines(client.post("/documents", files=files))
    assert {(end["status"], end["id"]) for end in ends} == {
        ("stored", "upload:notes/heart.md"),
        ("stored", "1"),
        ("stored", "2"),
        ("rejected", None),
    }
    assert last["summary"]["rejected"] == 1
    document = client.get("/documents/upload:notes/heart.md").json()
    assert (document["title"], document["source"]["file"]) == (
        "The heart",
        "upload:notes/heart.md",
    )


def test_a_file_in_another_encoding_is_read_as_what_the_caller_says(client: TestClient) -> None:
    files = {"files": ("a.txt", "naïve café".encode("latin-1"))}
    (end, _) = lines(client.post("/documents", files=files))
    assert end["reason"].endswith("or name its encoding, e.g. encoding=latin-1")
    (end, _) = lines(client.post("/documents?encoding=latin-1", files=files))
    assert end["status"] == "stored"
    (passage,) = client.get("/documents/upload:a.txt").json()["passages"]
    assert passage["text"] == "naïve café"


def test_the_format_that_is_named_decides(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    body = b"id,text\n1,hello there\n"
    (end, _) = lines(client.post("/documents?format=csv", content=body, headers=headers))
    assert (end["status"], end["id"]) == ("stored", "1")


@pytest.mark.parametrize("name", ["klingon", "base64", "\0"])
def test_an_unknown_encoding_is_refused(client: TestClient, name: str) -> None:
    answer = client.post("/documents", params={"encoding": name}, json=RECORDS)
    assert answer.status_code == 422
    assert "is unknown; expected e.g. latin-1" in answer.json()["error"]


def test_a_reason_names_no_flag_that_a_caller_does_not_have(client: TestClient) -> None:
    large = b'{"id": "a", "text": "' + b"x" * (33 << 20) + b'"}'
    body = large + b'\n{"id": "b", "words": "here"}\n'
    *ends, _ = lines(client.post("/documents", content=body, headers={"content-type": JSON_LINES}))
    assert sorted(end["reason"] for end in ends) == [
        "no text: expected a field 'text' or the like; there are 'id', 'words' (text_field=NAME)",
        "the line is larger than 32 MiB; split it",
    ]


def test_two_uploads_of_one_name_do_not_overwrite_each_other(client: TestClient) -> None:
    def send(text: bytes) -> dict[str, Any]:
        return lines(client.post("/documents", files={"files": ("notes.txt", text)}))[0]

    assert send(b"mine")["status"] == "stored"
    assert send(b"mine")["status"] == "unchanged"
    assert send(b"somebody else's")["status"] == "rejected"
    assert client.get("/documents/upload:notes.txt").json()["passages"][0]["text"] == "mine"


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\x1b[2J.txt", "x" * 2000, " ", "C:\\a.txt"])
def test_a_hostile_file_name_is_only_a_name(client: TestClient, name: str) -> None:
    (end, _) = lines(client.post("/documents", files={"files": (name, b"words")}))
    assert end["status"] == "stored"
    assert "\x1b" not in end["id"]
    assert client.get("/documents").json()["total"] == 1


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b"{}", None, 415),
        (b"x", "multipart/form-data", 422),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 422),
    ],
)
def test_a_body_that_is_no_document_is_refused(
    client: TestClient, content: bytes, kind: str | None, status: int
) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = client.post("/documents", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]


def part(name: str, body: bytes, filename: str | None = None) -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + body + b"\r\n"


def test_nothing_has_to_follow_the_last_boundary(client: TestClient) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    body = part("f", b"words", "a.txt") + b"--x--"
    (end, _) = lines(client.post("/documents", content=body, headers=headers))
    assert end["status"] == "stored"


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("multipart/form-data", b"x", "Missing boundary"),
        ("multipart/form-data; boundary=x", b"no boundary", "Expected the boundary"),
        (
            "multipart/form-data; boundary=x",
            part("f", b"a", "a.txt") * 1001 + b"--x--\r\n",
            "Too many files",
        ),
        (
            "multipart/form-data; boundary=x",
            part("f", b"a" * (1 << 20) + b"a") + b"--x--\r\n",
            "exceeded maximum size",
        ),
        (
            "multipart/form-data; boundary=x",
            part("f", b"a", "a.txt") + part("text", b"Walk daily.") + b"--x--\r\n",
            "found the field 'text'",
        ),
        (
            "multipart/form-data; boundary=x",
            part("f", b"a", "a.txt") + part("g", b"cut off in the mi", "b.txt"),
            "It ends before its last boundary",
        ),
    ],
    ids=["no boundary named", "none found", "files", "large field", "field", "cut off"],
)
def test_a_multipart_body_is_read_whole_or_not_at_all(
    client: TestClient, kind: str, body: bytes, said: str
) -> None:
    answer = client.post("/documents", content=body, headers={"content-type": kind})
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert "JSON" not in answer.json()["error"]
    assert client.get("/documents").json()["total"] == 0


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"\xff\xfe\x00", b"", b"1", b'{"a": 1' + b"0" * 9999]
)
def test_documents_that_are_broken_are_rejected_and_counted(
    client: TestClient, body: bytes
) -> None:
    answer = client.post("/documents", content=body, headers={"content-type": "application/json"})
    *ends, last = lines(answer)
    assert [end["status"] for end in ends] == ["rejected"]
    assert last["summary"]["rejected"] == 1
    assert client.get("/documents").json()["total"] == 0


def test_documents_are_listed_page_by_page(client: TestClient) -> None:
    records = [{"id": f"d/{i}", "text": f"text {i}"} for i in range(7)]
    client.post("/documents", json=records)
    seen, after = [], ""  # as a form or a script may send it for the first page
    while True:
        page = client.get("/documents", params={"limit": 3, "after": after})
        seen += [document["id"] for document in page.json()["documents"]]
        assert page.json()["total"] == 7
        after = page.json()["next"]
        if after is None:
            break
    assert seen == [f"d/{i}" for i in range(7)]
    gone = client.get("/documents", params={"after": "nobody"})
    assert (gone.status_code, "'nobody'" in gone.json()["error"]) == (422, True)


def test_one_document_is_shown_and_deleted(client: TestClient) -> None:
    client.post("/documents", json={"id": "a/b c?d", "text": "words", "title": "T", "n": 1})
    path = "/documents/a/b%20c%3Fd"
    assert client.get(path).json() == {
        "id": "a/b c?d",
        "title": "T",
        "source": {"file": "upload:documents", "line": 1},
        "metadata": {"n": 1},
        "passages": [{"text": "words", "location": None}],
    }
    assert client.delete(path).json() == {"deleted": "a/b c?d"}
    assert client.delete(path).status_code == 404
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("name", ["nl\nx", "x\n", "a/\r\n/b", "x\u2028y"])
def test_an_id_with_a_line_break_is_an_id_like_others(client: TestClient, name: str) -> None:
    client.post("/documents", json={"id": name, "text": "words"})
    path = "/documents/" + quote(name, safe="")
    assert client.get(path).json()["id"] == name
    assert client.delete(path).json() == {"deleted": name}
    assert client.get(path).status_code == 404


def test_while_another_process_writes_the_answer_says_so(
    filled: TestClient, tmp_path: Path
) -> None:
    settings = config.load({"store": str(tmp_path / "s.db")}, {}, [])
    with only_writer(settings):
        for answer in (filled.post("/documents", json=RECORDS), filled.delete("/documents/eye")):
            assert answer.status_code == 503
            assert "another process is writing" in answer.json()["error"]
        assert filled.get("/search", params={"q": "heart"}).status_code == 200
    assert filled.delete("/documents/eye").status_code == 200


def test_without_room_for_what_is_sent_the_answer_says_so(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("search.serve.upload.shutil.copyfileobj", full)
    answer = client.post("/documents", files={"files": ("a.txt", b"words")})
    assert (answer.status_code, "No space left" in answer.json()["error"]) == (503, True)


def test_an_upload_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    limits = {"serve.max_upload_bytes": 2000, "serve.max_body_bytes": 1024}
    with serving(tmp_path, **limits) as client:
        headers = {"content-type": JSON_LINES}
        assert client.post("/documents", content=b" " * 2001, headers=headers).status_code == 413
        assert client.post("/documents", content=b" " * 1500, headers=headers).status_code == 200
        assert client.post("/search", json={"query": "a" * 1100}).status_code == 413
