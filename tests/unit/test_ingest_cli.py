"""The command: its messages, its exit status, and what it prints for programs."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ingest_fakes import FakeEmbedder, MemoryStore

from ingest import progress as progress_module
from ingest import run
from ingest.__main__ import main
from ingest.progress import progress
from ingest.read.source import Meter
from ingest.summary import duration
from search.types import Fault

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    store = MemoryStore()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "open_store", lambda settings, **options: store)
    monkeypatch.setattr(run, "load_embedder", lambda settings: FakeEmbedder())
    (tmp_path / "good.jsonl").write_text('{"id": 1, "text": "a"}\n{"id": 2, "text": "b"}\n')
    (tmp_path / "bad.jsonl").write_text('{"id": 3, "text": ""}\n{"id": 4, "text": "d"}\n')
    return store


def test_the_summary(store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["good.jsonl"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("stored 2   unchanged 0   rejected 0   (2 read in ")
    assert second == "store memory: 2 documents, 2 passages"


def test_rejections_change_the_exit_status_unless_allowed(
    store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bad.jsonl"]) == 1
    output = capsys.readouterr()
    assert "rejected records are in rejects.jsonl" in output.out
    assert "rejected bad.jsonl:1: field 'text' is empty, expected text" in output.err
    assert main(["bad.jsonl", "--allow-rejects", "--quiet", "--rejects", "other.jsonl"]) == 0
    assert "other.jsonl" in capsys.readouterr().out


def test_json_for_programs(store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    main(["good.jsonl", "bad.jsonl", "--json"])
    found = json.loads(capsys.readouterr().out)
    del found["seconds"]
    assert found == {
        "read": 4,
        "stored": 3,
        "unchanged": 0,
        "rejected": 1,
        "removed": 0,
        "replaced": 0,
        "taken_over": 0,
        "renamed": 0,
        "unknown_sources": 0,
        "complete": True,
        "dry_run": False,
        "rejects_file": "rejects.jsonl",
        "skipped": {
            "files": {},
            "loops": [],
            "empty": [],
            "judgments": [],
            "rejects": [],
            "without_text": [],
            "nothing_in": [],
        },
        "store": {"kind": "memory", "location": "memory", "documents": 3, "passages": 3},
        "problem": None,
    }


def test_a_folder_in_which_nothing_can_be_read_is_named(
    store: MemoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["good.jsonl", "empty"]) == 0
    assert "\nfound no file to read in empty\n" in capsys.readouterr().out
    assert main(["empty", ".", "--include", "*.rst", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"]["nothing_in"] == ["empty", "."]


def test_verify_and_repair(store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    main(["good.jsonl"])
    assert main(["--verify"]) == 0
    assert "the store is in order: 2 documents" in capsys.readouterr().out
    store.faults = [Fault("passages without a vector", 7, ("1", "2")), Fault("others", 1)]
    assert main(["--verify"]) == 1
    output = capsys.readouterr().out
    assert "passages without a vector: 7 ('1', '2', …)\nothers: 1\n" in output
    assert "--repair" in output
    assert main(["--verify", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["faults"][0] == {
        "reason": "passages without a vector",
        "count": 7,
        "ids": ["1", "2"],
    }
    assert main(["--repair"]) == 1
    assert capsys.readouterr().out.startswith("others: 1\nno repair mends this: restore a copy")
    store.faults = [Fault("passages without a vector", 7), Fault("others", 1, ("1",))]
    assert main(["--repair"]) == 1
    assert capsys.readouterr().out.startswith("others: 1 ('1')\nthe rest is mended; ingest")
    assert main(["--verify", "--repair"]) == 0
    assert "all is mended" in capsys.readouterr().out
    assert main(["--repair"]) == 0
    assert "nothing to mend" in capsys.readouterr().out


def test_repair_makes_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--repair", "--store", "new/typo.db"]) == 1
    assert "there is no store at new/typo.db yet" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_stores_own_files_are_passed_over(
    store: MemoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("s[1].db-wal", "s[1].db-shm", "s[1].db-ingest", "s[1].db-ingest-wal"):
        (tmp_path / name).touch()
    assert main([".", "--store", "s[1].db", "--allow-rejects"]) == 0
    assert "skipped" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["in\udcff/store.db", "store\udcff.db"])
@pytest.mark.parametrize("flags", [["good.jsonl"], ["--verify"], ["--repair"]])
def test_a_store_whose_name_is_not_utf8_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    flags: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.jsonl").write_text('{"id": 1, "text": "a"}\n')
    assert main([*flags, "--store", name]) == 1
    assert "is no valid UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to ingest: two-stage ingest PATH"),
        (["none.jsonl"], "none.jsonl: no such file or folder"),
        (["good.jsonl", "--encoding", "klingon"], "encoding 'klingon' is unknown"),
        (["good.jsonl", "--encoding", "base64"], "encoding 'base64' is unknown"),
        (["good.jsonl", "--max-record-mb", "0"], "expected more than 0"),
        (["good.jsonl", "--max-record-mb", "nan"], "expected more than 0"),
        (["good.jsonl", "--set", "chunk_overlap=many"], "chunk_overlap"),
        (["good.jsonl", "--set", "nonsense"], "expected NAME=VALUE"),
        (["bad.jsonl", "--rejects", "none/r.jsonl"], "cannot be written"),
        (
            ["good.jsonl", "--verify"],
            "--verify is for the whole store and takes no PATH; found good",
        ),
        (["good.jsonl", "--verify", "--repair"], "--repair is for the whole store and takes no"),
    ],
)
def test_wrong_usage_is_said_in_a_line(
    store: MemoryStore, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not store.entries


def test_nothing_is_changed_by_a_dry_run(
    store: MemoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bad.jsonl", "--dry-run", "--store", "new/store.db"]) == 1
    assert capsys.readouterr().out.startswith("dry run, nothing was changed: would have\nstored 1 ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "good.jsonl"]


def test_help_is_instant_and_names_every_flag() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "ingest", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for flag in ("--id-field", "--prune", "--dry-run", "--verify", "--rejects", "--set", "--json"):
        assert flag in done.stdout
    for heavy in ("torch", "transformers", "apsw", "rich", "bs4", "numpy"):
        assert f" {heavy}\n" not in done.stderr


def test_ctrl_c_is_a_line_and_130(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ingest", "-", "--store", str(tmp_path / "store.db")]
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test run in the background of a shell is deaf to Ctrl-C, and so would its children be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "store.db").exists() and child.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(child.pid, signal.SIGINT)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"interrupted" in error
    assert b"Traceback" not in error


def test_plain_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.0)
    stream, meter = io.StringIO(), Meter(total=200, finished=50)
    with progress(stream, meter, quiet=False) as shown:
        shown.update(1500)
    assert "1,500 records, " in stream.getvalue()
    assert ", 25%, 0:00 left" in stream.getvalue()


def test_a_large_file_shows_progress_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.01)
    stream, meter = io.StringIO(), Meter(total=200, finished=50, name="large.html")
    with progress(stream, meter, quiet=False):
        while "in large.html" not in stream.getvalue():
            time.sleep(0.01)
    quiet = io.StringIO()
    with progress(quiet, meter, quiet=True):
        time.sleep(0.05)
    assert not quiet.getvalue()


def test_a_bar_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with progress(stream, Meter(total=100, finished=50), quiet=False) as shown:
        shown.update(10)
        shown.say("rejected [x]: reason")
    assert "rejected [x]: reason" in stream.getvalue()
    assert "50%" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.14, "3.1 s"), (245, "4:05 min"), (3723, "1:02:03 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
