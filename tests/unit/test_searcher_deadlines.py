"""A deadline holds: what is scored in time is reranked, and nobody waits for the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from fakes import ListStore, TableReranker, candidate
from searcher_bench import FOUND, LOGITS, PLAIN, ids, searcher

import config
from search.errors import CheckpointError
from search.rerank import Scored
from search.rerank.encoder import in_steps
from search.rerank.provider import LONGEST_WAIT, RerankerProvider
from search.searcher import Searcher


class Slow(TableReranker):
    """Each passage takes its time."""

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        return self.score(pairs) if seconds is None else in_steps(self.score, pairs, seconds)

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Scored]:
        time.sleep(0.01 * len(pairs))
        return [Scored(float(text.splitlines()[-1]), (0, len(text))) for _, text in pairs]


MANY = [candidate(f"d{i}", str(i), 1 - i / 100, i + 1) for i in range(50)]


def test_what_is_scored_in_time_is_reranked_and_the_rest_follows() -> None:
    provider = RerankerProvider(lambda: Slow({}, PLAIN))
    slow = Searcher(
        ListStore(MANY), provider, config.load({"limit": 50, "candidates": 50}, files=[])
    )
    slow.search("load the model", deadline_ms=None)
    ranking = slow.search("q", deadline_ms=250)
    assert ranking.reranked == "partial"
    assert not ranking.failed
    assert 8 <= ranking.scored < 50
    assert f"after {ranking.scored} of 50 passages" in (ranking.reason or "")
    n = ranking.scored
    assert ids(ranking) == [f"d{i}" for i in (*reversed(range(n)), *range(n, 50))]
    assert [hit.logit is None for hit in ranking.hits] == [False] * n + [True] * (50 - n)
    assert [hit.rank for hit in ranking.hits] == list(range(1, 51))


def test_a_deadline_before_the_first_passage_leaves_the_first_stages_order() -> None:
    provider = RerankerProvider(lambda: Slow({}, PLAIN))
    provider.get()
    slow = Searcher(ListStore(MANY), provider, config.load(files=[]))
    ranking = slow.search("q", deadline_ms=0.001)
    assert (ranking.reranked, ranking.failed) == (False, True)
    assert "before a passage was scored" in (ranking.reason or "")


def test_a_deadline_holds_while_the_model_is_being_loaded() -> None:
    loaded = threading.Event()

    def load() -> TableReranker:
        loaded.wait(10)
        return TableReranker(LOGITS, PLAIN)

    with searcher(load) as slow:
        ranking = slow.search("q", deadline_ms=30)
        assert "while the reranker was being loaded" in (ranking.reason or "")
        assert ranking.failed
        loaded.set()


def test_a_deadline_holds_while_a_failed_model_is_loaded_again() -> None:
    now, loads = 0.0, 0
    loaded = threading.Event()

    def load() -> TableReranker:
        nonlocal loads
        loads += 1
        if loads == 1:
            raise CheckpointError("model.safetensors is missing")
        loaded.wait(5)
        return TableReranker(LOGITS, PLAIN)

    # A gate: the load does not begin before the store is searched.
    settings = config.load({"gate": 100.0}, files=[])
    provider = RerankerProvider(load, clock=lambda: now)
    with Searcher(ListStore(FOUND), provider, settings) as slow:
        assert "is missing" in (slow.search("q").reason or "")
        now += LONGEST_WAIT
        ranking = slow.search("q", deadline_ms=30)
        loaded.set()
        assert "while the reranker was being loaded" in (ranking.reason or "")
    assert loads == 2
