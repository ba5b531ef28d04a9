from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from search.errors import InputError
from search.queries import read_queries, read_queries_with_ids


def test_queries_come_as_lines_or_json_objects(tmp_path: Path) -> None:
    file = tmp_path / "queries"
    file.write_text('\ufefffirst\r\n\n{"_id": "7", "text": "second"}\n', encoding="utf-8")
    assert read_queries(file) == ["first", "second"]


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text('{"_id": "1", "text": "a\u2028b\u0085c"}\n', encoding="utf-8")
    assert read_queries(file) == ["a\u2028b\u0085c"]
    assert read_queries_with_ids(file) == {"1": "a\u2028b\u0085c"}


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def typed(content: bytes) -> Path:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "ascii"))
        return Path("-")

    assert read_queries(typed("\ufeffcafé\r\nsecond\n".encode())) == ["café", "second"]
    for content, said in ((b"one\n{", ":2: not valid JSON"), (b"", ": found no query")):
        with pytest.raises(InputError, match=f"^standard input{said}"):
            read_queries(typed(content))


def test_a_file_that_cannot_be_read_is_not_called_a_wrong_encoding(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=f"{path}: cannot be read: {said}"):
            read_queries(path)


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("one\ntwo\n",))
    writer.start()
    assert read_queries(pipe) == ["one", "two"]
    writer.join()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no query"),
        (b'{"text": 3}', ":1: found no 'text'"),
        (b"\n{", ":2: not valid JSON"),
        (b'{"a":' * 100_000, ":1: not valid JSON"),
        (b"caf\xe9", "UTF-8"),
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "queries.txt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_queries(file)
