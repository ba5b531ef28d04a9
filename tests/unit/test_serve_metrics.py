"""What happened in the service, as Prometheus reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fakes import ListStore, TableReranker, candidate
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from serve_fakes import make_service
from starlette.testclient import TestClient

import config
from search.errors import ModelError, StoreError
from search.rerank import Blend
from search.rerank.provider import RerankerProvider
from search.searcher import Searcher
from search.serve.app import build_app
from search.serve.metrics import Metrics, router
from search.types import StoreInfo

FOUND = [candidate(f"d{i}", f"text {i}", 0.9 - i / 100, i + 1) for i in range(12)]
LOGITS = {f"text {i}": i / 2 - 3 for i in range(12)}  # the other way round


class Scrape:
    """The values of one answer of /metrics."""

    def __init__(self, metrics: Metrics) -> None:
        app = FastAPI()
        app.include_router(router(metrics))
        with TestClient(app) as client:
            answer = client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.samples = [
            sample
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float | None:
        """None where there is no such value."""
        found = [s.value for s in self.samples if s.name == name and s.labels == labels]
        return found[0] if found else None


def searcher(load: Any = None, **flags: object) -> Searcher:
    provider = RerankerProvider(load or (lambda: TableReranker(LOGITS, Blend())))
    return Searcher(ListStore(FOUND), provider, config.load({"limit": 10, **flags}, files=[]))


def test_a_search_leaves_stages_scores_and_movement() -> None:
    metrics = Metrics()
    ranking = searcher().search("q")
    metrics.searched(ranking)
    scrape = Scrape(metrics)
    assert scrape("two_stage_searches_total", outcome="reranked") == 1
    for stage in ("retrieve", "rerank", "total"):
        assert scrape("two_stage_stage_seconds_count", stage=stage) == 1
        seconds = scrape("two_stage_stage_seconds_sum", stage=stage)
        assert seconds == pytest.approx(ranking.timings_ms[stage] / 1000)
    first, tenth = ranking.hits[0].score, ranking.hits[9].score
    assert scrape("two_stage_hit_score_sum", place="first") == pytest.approx(first)
    assert scrape("two_stage_hit_score_sum", place="tenth") == pytest.approx(tenth)
    # Twelve the other way round, ten of them shown: 11 + 9 + … + 1, and 1 + 3 + 5 + 7.
    assert scrape("two_stage_rank_movement_sum") == 11 + 9 + 7 + 5 + 3 + 1 + 1 + 3 + 5 + 7
    assert scrape("two_stage_rank_movement_count") == 10
    assert scrape("two_stage_rank_movement_bucket", le="1.0") == 2


def test_an_answer_that_was_not_reranked_says_why_and_moves_nothing() -> None:
    def broken() -> Any:
        raise ModelError("no such model")

    metrics = Metrics()
    for one in (
        searcher(broken),
        searcher(gate=0.0),
        searcher(rerank=False),
        searcher(deadline_ms=1e-6),
    ):
        metrics.searched(one.search("q"))
    scrape = Scrape(metrics)
    outcomes = ("failed", "gate", "off", "deadline")
    assert [scrape("two_stage_searches_total", outcome=o) for o in outcomes] == [1, 1, 1, 1]
    assert scrape("two_stage_fallbacks_total", reason="failed") == 1
    assert scrape("two_stage_fallbacks_total", reason="deadline") == 1
    assert scrape("two_stage_fallbacks_total", reason="gate") is None
    assert scrape("two_stage_rank_movement_count") == 0
    assert scrape("two_stage_hit_score_count", place="first") is None


def report(metrics: Metrics) -> None:
    """Something of every kind."""
    metrics.searched(searcher().search("q"))
    metrics.waited(0.02)
    metrics.queue_length(7)
    metrics.batch(tokens=4096, budget=16384, pairs=20)
    metrics.cache(hits=3, misses=2)
    metrics.fallback("cache")
    metrics.rejected("too large")
    metrics.reranked_for("cohere")
    metrics.request("/search", 200, 0.5)
    metrics.answered_by("canary")
    metrics.second_opinion("compared", 0.5, same=False)
    metrics.switched("switched")
    metrics.model("embedder", {"name": "mini", "revision": "e1"})
    metrics.watch_store(lambda: StoreInfo("sqlite", "here", 3, 5, None, "1"))


DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
FROM_PROMETHEUS = {"instance", "job", "le", "__name__"}


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_the_dashboard_asks_for_metrics_that_exist(panel: dict[str, Any]) -> None:
    metrics = Metrics()
    report(metrics)
    labels: dict[str, set[str]] = {}
    for sample in Scrape(metrics).samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    assert panel["description"]
    for target in panel["targets"]:
        asked = re.findall(r"(?:two_stage|process)_\w+", target["expr"])
        assert asked
        grouped = " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))
        used = {*re.findall(r"\w+", grouped), *re.findall(r"\{(\w+)=", target["expr"])}
        used |= set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        for name in asked:
            assert used <= labels[name] | FROM_PROMETHEUS, name


def test_no_two_panels_of_the_dashboard_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_metric_of_the_service_is_on_the_dashboard_and_documented() -> None:
    metrics = Metrics()
    report(metrics)
    documented = (DOCS / "service.md").read_text(encoding="utf-8")
    asked = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        if family.name.startswith("two_stage") and not family.name.endswith("_created"):
            assert family.name in asked, family.name
            assert f"`{family.name}" in documented, family.name


def test_what_queue_cache_and_requests_report() -> None:
    metrics = Metrics()
    metrics.waited(0.02)
    metrics.waited(0.2, "embedder")
    metrics.queue_length(7)
    metrics.batch(tokens=4096, budget=16384, pairs=20)
    metrics.cache(hits=3, misses=2)
    metrics.fallback("cache")
    metrics.rejected("too large")
    metrics.reranked_for("cohere")
    metrics.request("/documents/{id}", 200, 0.5)
    scrape = Scrape(metrics)
    assert scrape("two_stage_queue_wait_seconds_sum", part="reranker") == 0.02
    assert scrape("two_stage_queue_wait_seconds_sum", part="embedder") == 0.2
    assert scrape("two_stage_queue_length", part="reranker") == 7
    assert scrape("two_stage_batch_tokens_sum", part="reranker") == 4096
    assert scrape("two_stage_batch_fill_sum", part="reranker") == 0.25
    assert scrape("two_stage_batch_pairs_sum", part="reranker") == 20
    assert scrape("two_stage_cache_lookups_total", result="hit") == 3
    assert scrape("two_stage_cache_lookups_total", result="miss") == 2
    assert scrape("two_stage_fallbacks_total", reason="cache") == 1
    assert scrape("two_stage_rejected_total", reason="too large") == 1
    assert scrape("two_stage_rerank_requests_total", protocol="cohere") == 1
    assert scrape("two_stage_requests_total", route="/documents/{id}", status="200") == 1
    assert scrape("two_stage_request_seconds_sum", route="/documents/{id}") == 0.5
    assert (scrape("process_resident_memory_bytes") or 0) > 1_000_000


def test_a_model_takes_the_place_of_the_one_before() -> None:
    metrics = Metrics()
    metrics.model("embedder", {"name": "mini", "revision": "e1"})
    for revision in ("r1", "r1", "r2"):
        metrics.model("reranker", {"name": "bundled", "revision": revision, "device": "cpu"})
    shown = [s.labels for s in Scrape(metrics).samples if s.name == "two_stage_model_info"]
    reranker = {"part": "reranker", "name": "bundled", "revision": "r2"}
    assert shown == [{"part": "embedder", "name": "mini", "revision": "e1"}, reranker]


def test_a_store_is_counted_when_somebody_looks_but_not_each_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def describe() -> StoreInfo:
        asked.append("asked")
        if len(asked) > 1:
            raise StoreError("gone")
        return StoreInfo("sqlite", "here", 3, 5, None, "1")

    metrics = Metrics()
    metrics.watch_store(describe)
    assert not asked
    for _ in range(2):
        scrape = Scrape(metrics)
        assert (scrape("two_stage_documents"), scrape("two_stage_passages")) == (3, 5)
    assert len(asked) == 1
    monkeypatch.setattr("search.serve.metrics.STORE_SECONDS", 0.0)
    metrics.waited(1.0)
    scrape = Scrape(metrics)
    assert scrape("two_stage_documents") is None  # no figure is better than an old one
    assert scrape("two_stage_queue_wait_seconds_sum", part="reranker") == 1.0
    assert "the store cannot be counted: gone" in caplog.text


def test_the_service_names_its_models_and_counts_its_store() -> None:
    with TestClient(build_app(make_service())) as client:
        text = client.get("/metrics").text
    assert 'two_stage_model_info{name="lengths",part="embedder",revision="1"} 1.0' in text
    assert 'two_stage_model_info{name="share",part="reranker"' in text
    assert "two_stage_passages " in text
