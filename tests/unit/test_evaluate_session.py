"""A pass over a store that may not hold what is judged."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ingest_fakes import MemoryStore
from rich.console import Console

import config
from search.errors import InputError
from search.evaluate import corpus, session
from search.evaluate.data import Task
from search.evaluate.progress import Shown
from search.evaluate.session import Session
from search.types import Candidate, Document, Entry, Passage


class Store(MemoryStore):
    """Holds `a` and `b`, and finds nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.put([Entry(Document(i, "", i), (Passage(i),), i) for i in "ab"])

    def retrieve(self, *query: Any, **how: Any) -> list[Candidate]:
        return []


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = io.StringIO()

    def __call__(self, judged: Sequence[str], folder: Path | None = None) -> list[str]:
        """The files that scores are kept in after a pass over a query with these judged."""
        shown = Shown(self.said, Console(file=self.said, width=40))
        one = Session(config.load(files=[]), self.folder, (5,), shown)
        model: Any = SimpleNamespace(identity="m")
        one.model = model
        one.run(Task("t", {"q": "?"}, {"q": dict.fromkeys(judged, 1)}), folder)
        return sorted(path.name for path in self.folder.rglob("*.jsonl"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(session, "open_store", lambda settings: Store())
    monkeypatch.setattr(corpus, "prepare", lambda folder, cache, settings, shown: settings)
    return Bench(tmp_path)


def test_a_store_without_the_judged_documents_is_an_error(bench: Bench) -> None:
    with pytest.raises(
        InputError, match="t: none of the 2 judged documents is in the store memory"
    ):
        bench(["x", "y"])
    with pytest.raises(InputError, match="is in the corpus of my-set: is it the right one"):
        bench(["x"], Path("my-set"))
    assert list(bench.folder.iterdir()) == []


def test_judged_documents_that_are_not_there_are_counted_and_change_no_score(bench: Bench) -> None:
    kept = bench(["a", "b"])
    assert len(kept) == 1
    assert bench.said.getvalue().count("judged documents") == 0
    assert bench(["a", "b", "x"]) == kept
    said = "t: 1 of the 3 judged documents (33.3%) are not in the store memory\n"
    assert said in bench.said.getvalue()
    assert bench(["a", "x"], Path("my-set")) == kept
    assert "(50.0%) are not in the corpus of my-set\n" in bench.said.getvalue()
