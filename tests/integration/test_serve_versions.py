"""A version added, shadowed, canaried, switched and rolled back in a running service under load."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file
from weaviate_nodes import free_ports

import config
from search.evaluate.compare import from_log
from search.models.__main__ import main
from search.rerank.checkpoint import BUNDLED
from search.store.open import open_store
from search.types import Document, Entry, Passage

ROOT = Path(__file__).parents[2]
MEDICAL = json.loads((ROOT / "data" / "medical.json").read_text("utf-8"))[:40]
SECONDS = 180


@dataclass
class Load:
    """Threads that ask without a pause, each time something new."""

    url: str
    answered: Counter[str] = field(default_factory=Counter)
    reranked: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def search(self) -> None:
        for i in itertools.count():
            if self.stop.is_set():
                return
            title = MEDICAL[i % len(MEDICAL)]["title"]
            answer = self._post("/search", {"query": f"{title}, question {i}"})
            if answer is not None:
                name = answer["model"].get("name", answer["reason"])
                self.answered[str(name)] += 1

    def rerank(self) -> None:
        for i in itertools.count():
            if self.stop.is_set():
                return
            texts = [f"{document['title']} {i}" for document in MEDICAL[:3]]
            asked = {"model": "any", "query": f"text number {i}", "documents": texts}
            answer = self._post("/v1/rerank", asked)
            if answer is not None:
                self.reranked[answer["model"]] += 1

    def _post(self, path: str, content: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            self.failed.append(f"{error.code} {error.read()[:200]!r}")
            error.close()
        except OSError as error:
            self.failed.append(repr(error))
        return None


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEARCH_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def load(tmp_path: Path, models: Path) -> Iterator[Load]:
    """A service with documents in it, and people who ask it."""
    flags = {"store": str(tmp_path / "s.db"), "device": "cpu"}
    with closing(open_store(config.load(flags, {}, []), create=True)) as store:
        store.put(
            [
                Entry(Document(d["id"], d["title"], d["text"]), (Passage(d["text"]),), "1")
                for d in MEDICAL
            ]
        )
    (port,) = free_ports(1)
    flags |= {
        "model": "current",
        "candidates": "6",
        "serve.max_wait_ms": "60000",
        "serve.comparison_log": str(tmp_path / "log.jsonl"),
    }
    settings = [word for name, value in flags.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "search.serve", "--port", str(port), *settings]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    load = Load(f"http://127.0.0.1:{port}")
    threads = [threading.Thread(target=load.search), threading.Thread(target=load.rerank)]
    try:
        until(lambda: is_ready(load.url, process))
        for thread in threads:
            thread.start()
        yield load
    finally:
        load.stop.set()
        for thread in threads:
            if thread.is_alive():
                thread.join()
        process.terminate()
        process.wait(60)


def is_ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"the service ended with status {process.returncode}"
    try:
        urllib.request.urlopen(f"{url}/.well-known/ready", timeout=2).close()
    except OSError:
        return False
    return True


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def changed(tmp_path: Path, name: str, factor: float) -> str:
    """The bundled model, whose logits are times `factor`."""
    folder = shutil.copytree(BUNDLED, tmp_path / name)
    weights = load_file(folder / "model.safetensors")
    for part in ("classifier.weight", "classifier.bias"):
        weights[part] = (weights[part] * factor).astype(weights[part].dtype)
    save_file(weights, folder / "model.safetensors")
    return str(folder)


def metrics(load: Load) -> str:
    with urllib.request.urlopen(f"{load.url}/metrics", timeout=10) as answer:
        content = answer.read()
    assert isinstance(content, bytes)
    return content.decode()


def test_a_version_goes_all_the_way_without_a_failed_request(
    load: Load, models: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    until(lambda: load.answered["bundled"] > 5)

    assert main(["add", "new", changed(tmp_path, "new", 0.9)]) == 0
    assert main(["shadow", "new"]) == 0
    until(lambda: log.is_file() and log.read_text("utf-8").count("\n") >= 3)
    assert set(load.answered) == {"bundled"}, "a shadow answers nothing"

    assert main(["canary", "new", "--share", "0.5"]) == 0
    until(lambda: load.answered["new"] > 3)
    before = load.answered["bundled"]
    until(lambda: load.answered["bundled"] > before)

    assert main(["use", "new"]) == 0
    until(lambda: 'model_info{name="new",part="reranker"' in metrics(load))
    time.sleep(1)
    before = load.answered["bundled"]
    answered, reranked = load.answered["new"], load.reranked["new"]
    until(lambda: load.answered["new"] > answered + 3 and load.reranked["new"] > reranked + 3)
    assert load.answered["bundled"] <= before + 1, "one may have been under way"

    assert main(["add", "wrong", changed(tmp_path, "wrong", -1.0), "--force"]) == 0
    assert main(["use", "wrong"]) == 0
    until(lambda: 'model_switches_total{outcome="refused"} 1.0' in metrics(load))
    answered = load.answered["new"]
    until(lambda: load.answered["new"] > answered + 3)

    assert main(["rollback"]) == 0
    assert main(["rollback"]) == 0
    assert main(["canary", "--off"]) == 0
    assert main(["shadow", "--off"]) == 0
    until(lambda: 'model_info{name="bundled",part="reranker"' in metrics(load))
    before = load.answered["bundled"]
    until(lambda: load.answered["bundled"] > before + 3)

    assert load.failed == []
    assert set(load.answered) == set(load.reranked) == {"bundled", "new"}
    found = from_log(log, "bundled", "new")
    assert found.queries >= 3
    assert found.tau > 0.5, "the same model, but for a factor"
