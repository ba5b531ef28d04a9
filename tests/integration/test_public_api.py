"""The README's example and what it promises, with the real models."""

from __future__ import annotations

import doctest
import gc
import importlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingest.__main__ import main as ingest
from search import CrossEncoder, Searcher
from search.errors import ConfigError, StoreMissing

ROOT = Path(__file__).parents[2]
QUERY = "how to prevent heart disease"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "store.db"
    assert ingest([str(ROOT / "data" / "medical.json"), "--store", str(path), "--quiet"]) == 0
    return path


def test_the_readmes_examples_run(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".search").symlink_to(store.parent)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 5
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5
    assert printed[0].startswith("1 ")


@pytest.mark.parametrize("module", ["search", "search.rerank.encoder"])
def test_examples_in_docstrings_run(
    module: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.db").symlink_to(store)
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def test_open_heeds_the_variables_and_its_arguments_win(store: Path) -> None:
    with Searcher.open(environment={"SEARCH_LIMIT": "2", "SEARCH_STORE": str(store)}) as searcher:
        assert len(searcher.search(QUERY, rerank=False).hits) == 2
    environment = {"SEARCH_STORE": "nowhere.db"}
    with Searcher.open(environment=environment, store=store, limit=1) as searcher:
        assert len(searcher.search(QUERY, rerank=False).hits) == 1


def test_open_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        Searcher.open(environment={}, store=tmp_path / "none.db")
    with pytest.raises(ConfigError, match="'stroe'"):
        Searcher.open(environment={}, stroe="x")


def test_many_threads_get_the_same_answers_and_leave_nothing_open(store: Path) -> None:
    queries = [QUERY, "signs of a stroke", "knee pain after running", "can I exercise"] * 2
    before = set(threading.enumerate())
    with Searcher.open(environment={}, store=store, candidates=10) as searcher:
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(searcher.search, queries))
        alone = [searcher.search(query) for query in queries]
    for one, other in zip(together, alone, strict=True):
        assert one.reranked is True
        assert [hit.id for hit in one.hits] == [hit.id for hit in other.hits]
        assert [hit.highlight for hit in one.hits] == [hit.highlight for hit in other.hits]
    del searcher
    gc.collect()  # the engine's threads end with it
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_a_deadline_is_kept(store: Path) -> None:
    settings = {"candidates": 100, "early_stop": False}
    with Searcher.open(environment={}, store=store, **settings) as searcher:
        searcher.search(QUERY)  # loads the models
        whole = searcher.search(QUERY)
        assert whole.scored > 50
        share = searcher.search(QUERY, deadline_ms=whole.timings_ms["total"] / 3)
        assert share.reranked == "partial" or share.failed
        assert share.scored < whole.scored
        assert share.timings_ms["total"] < whole.timings_ms["total"]


def test_a_cross_encoder_ranks_any_texts() -> None:
    texts = [
        "The museum is closed on Mondays.",
        "Walk daily and do not smoke to prevent heart disease.",
        "Bleeding may follow heart surgery.",
    ]
    model = CrossEncoder()
    first, second = model.rank(QUERY, texts, top_k=2)
    assert (first.index, first.text) == (1, texts[1])
    assert second.index == 2
    assert first.score > second.score
    assert [first.score, second.score] == [model.score(QUERY, texts)[i] for i in (1, 2)]
    assert len(model.rank(QUERY, texts)) == 3
    assert model.rank(QUERY, []) == []
