"""The rejects file never takes the place of anything but an older one."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from ingest.read import read
from ingest.read.source import Options
from ingest.read.walk import Skipped
from ingest.record import Record, Rejection
from ingest.rejects import Rejects, check_rejects
from ingest.seen import Seen
from search.errors import InputError, StoreUnavailable
from search.types import Source


def reject(path: Path, reason: str) -> None:
    rejects = Rejects(path)
    rejects.add(Rejection(reason, "a.jsonl", 7, {"id": 1}, source=Source("/data/a.jsonl", 7)))
    assert rejects.close() == path


def reasons(path: Path) -> list[str]:
    return [json.loads(line)["_reject"]["reason"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", ["", ".", "/", "folder", "pipe", "none/r.jsonl", "notes.jsonl"])
def test_what_is_no_rejects_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("notes.jsonl").write_text('{"id": 1, "text": "mine"}\n')
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError):
        check_rejects(Path(name), [])
    assert sorted(tmp_path.iterdir()) == before


def test_one_of_an_earlier_run_is_kept_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for reason in ("first", "second", "third"):
        check_rejects(path, [])
        reject(path, reason)
    assert reasons(path) == ["third"]
    assert reasons(tmp_path / "r.jsonl.old") == ["second"]


def test_a_mended_one_may_be_an_input_and_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"id": 1, "text": "mended"}\n')
    check_rejects(path, [str(path)])
    for reason in ("first", "second", "third"):
        reject(path, reason)
    assert "mended" in (tmp_path / "r.jsonl.old").read_text()
    assert reasons(tmp_path / "r.jsonl.old2") == ["second"]


def test_a_record_read_back_keeps_its_source(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    reject(path, "why")
    (record,) = read([str(path)], Options(), Skipped())
    assert isinstance(record, Record)
    assert (record.file, record.line) == (str(path), 1)
    assert record.source == Source("/data/a.jsonl", 7)


def test_what_is_rejected_again_is_written_as_before(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    rejects = Rejects(path)
    source = Source("/data/a.jsonl", 7)
    rejects.add(Rejection("broken JSON", "a.jsonl", 7, raw='{"id": ', source=source))
    rejects.add(Rejection("broken PDF", "a.pdf", source=Source("/data/a.pdf")))
    rejects.close()
    runs = []
    for _ in range(3):
        rejects = Rejects(path)
        for item in read([str(path)], Options(), Skipped()):
            assert isinstance(item, Rejection)
            rejects.add(item)
        rejects.close()
        runs.append(path.read_text())
    assert runs[0] == runs[1] == runs[2]
    assert [json.loads(line)["_reject"]["file"] for line in runs[2].splitlines()] == [
        "/data/a.jsonl",
        "/data/a.pdf",
    ]


def test_a_full_disk_for_temporary_files_is_said_in_a_line() -> None:
    def claim_many(seen: Seen) -> None:
        for number in range(10_000):
            seen.claim(f"id {number}", "f", number)

    with closing(Seen()) as seen:
        seen._connection.execute("PRAGMA max_page_count = 3")
        with pytest.raises(StoreUnavailable, match="among the temporary files"):
            claim_many(seen)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full (Linux)")
def test_a_full_disk_is_said_in_a_line(tmp_path: Path) -> None:
    rejects = Rejects(tmp_path / "r.jsonl")
    (tmp_path / "r.jsonl.partial").symlink_to("/dev/full")
    with pytest.raises(InputError, match="No space left on device; name another with --rejects"):
        rejects.add(Rejection("why", "f"))
    with pytest.raises(InputError, match="No space left"):
        rejects.close()
