from __future__ import annotations

import os
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
