"""The two commands as a user runs them: the real store, the real models, the sample documents."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.__main__ import main as ingest
from search.__main__ import main as search
from search.evaluate.__main__ import main as evaluate

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data" / "medical.json"
QUERY = "how to prevent heart disease"
Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "store.db"
    assert ingest([str(DATA), "--store", str(path), "--quiet"]) == 0
    return path


@pytest.fixture
def ask(store: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(*arguments: str) -> tuple[int, str, str]:
        status = search(["--store", str(store), *arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


def answer(ask: Ask, *arguments: str) -> dict[str, Any]:
    status, out, _ = ask("--json", *arguments)
    assert status == 0
    found: dict[str, Any] = json.loads(out)
    return found


def ids(found: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in found["hits"]]


def test_prevention_comes_first_and_surgery_complications_far_below(ask: Ask) -> None:
    found = answer(ask, "--limit", "50", QUERY)
    scores = {hit["id"]: hit["score"] for hit in found["hits"]}
    assert found["reranked"] is True
    assert ids(found)[0] == "heart-disease-prevention"
    assert scores["heart-disease-prevention"] > 0.8
    assert scores.get("heart-surgery-complications", 0) < 0.4


def test_hits_are_ordered_and_complete(ask: Ask) -> None:
    found = answer(ask, QUERY)
    hits = found["hits"]
    assert [hit["rank"] for hit in hits] == list(range(1, 11))
    assert [hit["score"] for hit in hits] == sorted((h["score"] for h in hits), reverse=True)
    assert all(0 <= hit["score"] <= 1 and hit["passage"] and hit["title"] for hit in hits)
    assert set(found["model"]) >= {"name", "revision", "device", "precision"}
    assert set(found["timings_ms"]) == {"retrieve", "load", "rerank", "highlight", "total"}


def test_the_passage_shown_is_the_one_that_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Long documents are found by what stands deep inside them, and the sentence is named."""
    records = json.loads(DATA.read_text("utf-8"))
    others = [r["text"] for r in records if "heart" not in r["text"] and r["language"] == "en"][:8]
    answers = "Smoke alarms should be tested every month by pressing their button."
    beginning = others[0]
    handbook = "\n\n".join([*others[:5], answers, *others[5:]])
    corpus = tmp_path / "corpus.json"
    corpus.write_text(
        json.dumps([{"id": "handbook", "text": handbook}, {"id": "other", "text": beginning}])
    )
    store = str(tmp_path / "store.db")
    assert ingest([str(corpus), "--store", store, "--quiet"]) == 0
    capsys.readouterr()
    question = "how often should I test a smoke alarm"
    assert search(["--store", store, "--json", "--passages", question]) == 0
    first = json.loads(capsys.readouterr().out)["hits"][0]
    assert first["id"] == "handbook"
    assert answers in first["passage"]
    assert beginning not in first["passage"]
    start, end = first["highlight"]
    assert first["passage"][start:end] == answers
    assert all(other["score"] >= first["score"] / 2 for other in first["passages"])


@pytest.mark.parametrize("mode", ["hybrid", "near_text", "bm25"])
def test_without_reranking_the_first_stage_answers_and_says_so(ask: Ask, mode: str) -> None:
    found = answer(ask, "--no-rerank", "--retrieval", mode, QUERY)
    assert found["reranked"] is False
    assert found["reason"] == "reranking is switched off"
    assert all(hit["logit"] is None for hit in found["hits"])
    assert [hit["retrieval"]["rank"] for hit in found["hits"]] == list(range(1, 11))


def test_filters(ask: Ask) -> None:
    found = answer(ask, "--no-rerank", "--where", "language=es", "--limit", "50", "diabetes")
    languages = {hit["metadata"]["language"] for hit in found["hits"]}
    assert languages == {"es"}
    assert answer(ask, "--where", "language=tlh", QUERY)["hits"] == []


def test_a_model_that_cannot_be_loaded_gives_the_first_stage_with_status_3(
    ask: Ask, tmp_path: Path
) -> None:
    status, out, _ = ask("--model", str(tmp_path), QUERY)
    assert status == 3
    assert "First stage's order, not reranked" in out
    assert "config.json" in out


def test_several_queries_from_a_file_as_json_lines(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "queries.txt"
    file.write_text(f"{QUERY}\nsigns of a stroke\n", encoding="utf-8")
    status, out, _ = ask("--json", "--no-rerank", "--queries", str(file))
    assert status == 0
    assert [json.loads(line)["query"] for line in out.splitlines()] == [QUERY, "signs of a stroke"]


def test_compare_shows_both_orders(ask: Ask) -> None:
    status, out, _ = ask("--compare", "--limit", "3", QUERY)
    assert status == 0
    assert "First stage" in out
    assert "Reranked" in out


def test_searching_before_ingesting_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(["--store", str(tmp_path / "none.db"), QUERY]) == 1
    assert "two-stage ingest PATH --store " in capsys.readouterr().err


def test_another_embedding_model_is_refused(ask: Ask) -> None:
    status, _, said = ask("--set", "query_prefix=query: ", QUERY)
    assert status == 1
    assert "was filled by" in said


def test_as_a_process_with_output_cut_off(store: Path) -> None:
    """`python -m search … | head -1`: no traceback, whatever is in the environment."""
    command = f"{sys.executable} -m search --store {store} --no-rerank --json '{QUERY}' | head -1"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=os.environ | {"SEARCH_LIMIT": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "{"
    assert done.stderr == ""


def test_the_bundled_model_passes_the_golden_gate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert evaluate(["--golden"]) == 0
    assert "35 of 35" in capsys.readouterr().out


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, command: list[str], folder: Path) -> None:
        main, side = pty.openpty()
        self._file = main
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"XDG_STATE_HOME": str(folder), "TERM": "dumb", "NO_COLOR": "1"},
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
        )
        os.close(side)

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def until(self, text: str) -> str:
        """All that is shown up to the next `text`."""
        shown = b""
        while text.encode() not in shown:
            ready, _, _ = select.select([self._file], [], [], 120)
            assert ready, shown.decode()
            shown += os.read(self._file, 4096)
        return shown.decode()


def test_the_prompt_in_a_terminal(store: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "search", "--store", str(store), "--limit", "1"]
    terminal = Terminal(command, tmp_path)
    terminal.until("Search: ")
    terminal.type("half a question")
    terminal.until("half a question")
    time.sleep(0.5)  # a Ctrl-C between two waits for a key would count with the next key only
    terminal.type("\x03")
    terminal.until("Search: ")  # cleared, not left
    terminal.type(":limit 2\n")
    terminal.until("Search: ")
    terminal.type(f"{QUERY}\n")
    shown = terminal.until("Search: ")
    assert "Preventing heart disease" in shown
    assert "2 " in shown
    terminal.type("\x04")
    assert terminal.process.wait(timeout=60) == 0
    history = (tmp_path / "two-stage" / "history").read_text()
    assert QUERY in history
    assert "half a question" not in history
