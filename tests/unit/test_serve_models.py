"""The models as the service's parts use them: waiting threads, futures, one cache for both."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from serve_fakes import Lengths, Share

from search.errors import ModelError, QueryTooLong, Stopped
from search.rerank import Scored
from search.rerank.cache import ScoreCache
from search.rerank.cache.sqlite import SqliteScores
from search.serve.caller import Answer, Caller, current_caller
from search.serve.metrics import Metrics
from search.serve.models import Models
from search.serve.queued import MAX_CHARACTERS, tokens

QUERY = "prevent heart disease"
TEXTS = ["no match", "prevent heart disease", "heart", "heart"]


class Counting(Share):
    """Takes `seconds` for each pair, and notes what it reads."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.read: list[str] = []
        self.seconds = seconds
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        self.entered.set()
        assert self.go.wait(5)
        time.sleep(self.seconds * len(pairs))
        self.read += [text for _, text in pairs]
        return super().score_pairs(pairs)


def scores(models: Models, query: str, texts: Sequence[str]) -> Answer[Scored]:
    return models.line(query).submit([(query, text) for text in texts])


@pytest.fixture
def model() -> Counting:
    return Counting()


@pytest.fixture
def models(model: Counting, tmp_path: Path) -> Iterator[Models]:
    metrics = Metrics()
    cache = ScoreCache(
        "file", lambda: SqliteScores(tmp_path / "scores", 10**6), counted=metrics.cache
    )
    models = Models(Lengths(), model, metrics=metrics, cache=cache, identity=lambda: "share")
    yield models
    models.close()


def test_threads_and_futures_share_queue_and_cache(models: Models, model: Counting) -> None:
    waited = models.provider.get().score_pairs([(QUERY, text) for text in TEXTS])
    assert scores(models, QUERY, TEXTS).result(5) == waited
    assert model.read == TEXTS[:3]
    assert [s.logit for s in scores(models, QUERY, ["heart", "disease"]).result(5)] == [
        1 / 3,
        1 / 3,
    ]
    assert model.read == [*TEXTS[:3], "disease"]
    shown = models.metrics.exposition().decode()
    assert 'two_stage_cache_lookups_total{result="hit"} 5.0' in shown
    assert 'two_stage_cache_lookups_total{result="miss"} 5.0' in shown


def test_what_the_model_cannot_read_is_its_callers_fault(models: Models) -> None:
    with pytest.raises(QueryTooLong):
        scores(models, "x" * 101, ["a"]).result(5)
    assert len(scores(models, QUERY, ["a"]).result(5)) == 1


def test_an_answer_that_is_abandoned_frees_its_place(models: Models, model: Counting) -> None:
    model.go.clear()
    first = scores(models, QUERY, ["a"])
    assert model.entered.wait(5)
    second = scores(models, QUERY, ["b"])
    time.sleep(0.05)
    second.abandon()
    model.go.set()
    assert len(first.result(5)) == 1
    assert len(scores(models, QUERY, ["c"]).result(5)) == 1
    assert model.read == ["a", "c"]


def test_a_closed_service_says_that_it_stops(model: Counting) -> None:
    models = Models(Lengths(), model)
    models.close()
    with pytest.raises(Stopped):
        scores(models, QUERY, ["a"])
    with pytest.raises(Stopped):
        models.embedder.encode_query("a")


def test_without_a_reranker_there_is_none(tmp_path: Path) -> None:
    models = Models(Lengths(), None)
    assert not models.reranks
    with pytest.raises(ModelError, match="without a reranker"):
        scores(models, QUERY, ["a"])
    with pytest.raises(ModelError, match="without a reranker"):
        models.provider.get()
    models.close()


def test_the_deadline_of_a_request_counts_from_its_arrival() -> None:
    models = Models(Lengths(), Counting(seconds=0.005))
    reranker = models.provider.get()
    pairs = [(QUERY, f"text {n}") for n in range(400)]
    reranker.score_pairs(pairs[:20])
    arrived = time.monotonic() - 0.1
    token = current_caller.set(Caller("late", arrived=arrived, deadline=arrived + 0.3))
    started = time.monotonic()
    found = reranker.score_pairs(pairs, seconds=0.5)
    current_caller.reset(token)
    assert time.monotonic() - started < 0.25
    assert 0 < len(found) < 60
    models.close()


def test_a_query_does_not_wait_for_the_passages_that_are_being_stored() -> None:
    class Slow(Lengths):
        def encode_passages(self, texts: list[str]) -> NDArray[np.float32]:
            time.sleep(0.002 * len(texts))
            return super().encode_passages(texts)

    models = Models(Slow(), None)
    models.embedder.encode_passages(["x" * 400] * 20)
    storing = threading.Thread(
        target=lambda: models.embedder.encode_passages(["x" * 400] * 1000), daemon=True
    )
    storing.start()
    time.sleep(0.1)
    started = time.monotonic()
    assert models.embedder.encode_query("heart").tolist() == [5.0, 0.0]
    assert time.monotonic() - started < 0.6
    assert storing.is_alive()
    storing.join(10)
    models.close()


def test_long_texts_are_cut_and_tokens_estimated() -> None:
    models = Models(Lengths(), None)
    (vector,) = models.vectors(["x" * 3_000_000], "passage").result(5)
    assert vector[0] == MAX_CHARACTERS
    models.close()
    assert tokens("x" * 400) == 102
    assert 100 <= tokens("心" * 133) <= 140
    assert tokens("\ud800") == 2


def test_the_gate_weighs_with_the_blend_of_the_model() -> None:
    info: Mapping[str, str | int] = {"name": "share"}
    models = Models(Lengths(), Share())
    assert models.provider.blend is Share.blend
    assert models.provider.get().info == info
    models.close()
