from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from fakes import ListStore, candidate
from tiny_folders import write_model

import config
from search.errors import ModelError
from search.evaluate.compare import from_log
from search.models.registry import Registry, Trial
from search.rerank import Blend, Scored
from search.rerank.provider import RerankerProvider
from search.searcher import Searcher
from search.serve.caller import Answer
from search.serve.lineup import Follower, Line, Lineup, Named, Roles, SecondOpinions, share_of
from search.serve.metrics import Metrics

QUERIES = [f"question number {i}" for i in range(2000)]
FOUND = [
    candidate("a", "one", 0.9, 1),
    candidate("b", "two", 0.8, 2),
    candidate("c", "three", 0, 3),
]


class Favouring:
    """Likes the passage of its name best."""

    blend = Blend()

    def __init__(self, name: str, favourite: str) -> None:
        self.info: Mapping[str, str | int] = {"name": name, "revision": "1", "device": "cpu"}
        self.favourite = favourite
        self.pairs = 0
        self.fault: Exception | None = None

    def readable(self, query: str) -> str:
        return query

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        if self.fault:
            raise self.fault
        self.pairs += len(pairs)
        return [
            Scored(2.0 if text.endswith(self.favourite) else -float(i), (0, len(text)))
            for i, (_, text) in enumerate(pairs)
        ]


def line(name: str, favourite: str = "one", version: str = "") -> Line:
    reranker = Favouring(name, favourite)
    provider = RerankerProvider(lambda: reranker)
    provider.get()
    return Line(Named(name, version), reranker, provider, lambda pairs: Answer())


def value(metrics: Metrics, sample: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"two_stage_{sample}", labels) or 0.0


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_query_keeps_its_model_and_a_canary_gets_its_share() -> None:
    roles = Roles(line("old"), line("new"), 0.05)
    names = [roles.answering(query).named.name for query in QUERIES]
    assert names == [roles.answering(query).named.name for query in QUERIES]
    assert 0.03 < names.count("new") / len(QUERIES) < 0.07
    wider = roles._replace(share=0.5)
    for query, name in zip(QUERIES, names, strict=True):
        assert name == "old" or wider.answering(query).named.name == "new"
    assert all(0 <= share_of(query) < 1 for query in QUERIES)
    none, every = roles._replace(share=0.0), roles._replace(share=1.0)
    assert {none.answering(q).named.name for q in QUERIES} == {"old"}
    assert {every.answering(q).named.name for q in QUERIES} == {"new"}


@pytest.fixture
def searching(tmp_path: Path) -> Callable[[Roles], tuple[Searcher, Lineup, Metrics, Path]]:
    def make(roles: Roles) -> tuple[Searcher, Lineup, Metrics, Path]:
        metrics, log = Metrics(), tmp_path / "log.jsonl"
        lineup = Lineup(roles, metrics)
        lineup.second_opinions = SecondOpinions(lambda: True, metrics, log)
        return Searcher(ListStore(FOUND), lineup, config.load(files=[])), lineup, metrics, log

    return make


Make = Callable[[Roles], tuple[Searcher, Lineup, Metrics, Path]]


def test_a_shadow_scores_and_answers_nothing(searching: Make) -> None:
    searcher, lineup, metrics, log = searching(
        Roles(line("old", "one"), shadow=line("new", "three"))
    )
    ranking = searcher.search("a question")
    assert ranking.model["name"] == "old"
    assert [hit.id for hit in ranking.hits] == ["a", "b", "c"]
    until(log.exists)
    lineup.close()
    (entry,) = map(json.loads, log.read_text("utf-8").splitlines())
    assert entry["query"] == "a question"
    assert entry["answered_by"] == "old"
    assert entry["orders"] == {"old": ["a", "b", "c"], "new": ["c", "a", "b"]}
    found = from_log(log, "old", "new")
    assert (found.queries, found.top_changed) == (1, 1)
    assert found.tau == pytest.approx(-1 / 3)
    assert value(metrics, "second_opinions_total", outcome="compared") == 1
    assert value(metrics, "second_opinion_other_top_total") == 1


def test_the_current_model_gives_the_second_opinion_on_a_canarys_answers(searching: Make) -> None:
    searcher, lineup, metrics, log = searching(
        Roles(line("old", "one"), line("new", "three"), 1.0, line("third", "two"))
    )
    ranking = searcher.search("a question")
    assert ranking.model["name"] == "new"
    assert ranking.hits[0].id == "c"
    until(log.exists)
    lineup.close()
    entry = json.loads(log.read_text("utf-8"))
    assert (entry["answered_by"], set(entry["orders"])) == ("new", {"old", "new"})
    assert value(metrics, "answers_by_role_total", role="canary") == 1


def test_a_shadow_that_fails_or_waits_touches_no_answer(searching: Make, tmp_path: Path) -> None:
    shadow = line("new", "three")
    searcher, lineup, metrics, _ = searching(Roles(line("old"), shadow=shadow))
    shadow.reranker.fault = ModelError("broken")  # type: ignore[attr-defined]
    assert searcher.search("a question").reranked
    until(lambda: value(metrics, "second_opinions_total", outcome="failed") == 1)
    lineup.close()
    lineup.second_opinions = SecondOpinions(lambda: False, metrics, tmp_path / "other.jsonl")
    for _ in range(300):
        assert searcher.search("a question").reranked
    until(lambda: value(metrics, "second_opinions_total", outcome="dropped") >= 99)
    lineup.close()
    assert not (tmp_path / "other.jsonl").exists()


def test_a_log_that_cannot_be_written_touches_no_answer(searching: Make, tmp_path: Path) -> None:
    searcher, lineup, metrics, _ = searching(Roles(line("old"), shadow=line("new", "three")))
    lineup.second_opinions = SecondOpinions(lambda: True, metrics, tmp_path / "no" / "log")
    assert searcher.search("a question").reranked
    until(lambda: value(metrics, "second_opinions_total", outcome="compared") == 1)
    lineup.close()


class Loading:
    """Loads lines by name, and fails for those named "bad"."""

    def __init__(self) -> None:
        self.loaded: list[Named] = []

    def __call__(self, named: Named) -> Line:
        self.loaded.append(named)
        if named.name == "bad":
            raise ModelError("weights that know nothing")
        return line(named.name, version=named.version)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models")
    source = write_model(tmp_path / "source")
    for name in ("one", "two", "bad"):
        with registry.draft(name, str(source)) as draft:
            draft.add([], None)
    return registry


def following(registry: Registry, **settings: object) -> tuple[Follower, Lineup, Metrics, Loading]:
    metrics, load = Metrics(), Loading()
    lineup = Lineup(Roles(line("bundled")), metrics)
    flags = {"model": "current", "models": registry.root} | settings
    follower = Follower(lineup, config.load(flags, {}, []), load, metrics)
    return follower, lineup, metrics, load


def test_use_and_rollback_take_effect(registry: Registry) -> None:
    follower, lineup, metrics, load = following(registry)
    follower.look()
    assert (lineup.roles.current.named.name, load.loaded) == ("bundled", [])
    registry.use("one")
    follower.look()
    follower.look()
    assert lineup.roles.current.named.name == "one"
    assert len(load.loaded) == 1
    registry.rollback()
    follower.look()
    assert lineup.roles.current.named.name == "bundled"
    assert value(metrics, "model_switches_total", outcome="switched") == 2
    assert value(metrics, "model_info", part="reranker", name="bundled", revision="1") == 1


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(registry: Registry) -> None:
    follower, lineup, metrics, load = following(registry)
    registry.use("one")
    follower.look()
    registry.use("bad")
    for _ in range(3):
        follower.look()
    assert lineup.roles.current.named.name == "one"
    assert [named.name for named in load.loaded] == ["one", "bad"], "not tried every second"
    assert value(metrics, "model_switches_total", outcome="refused") == 1
    registry.use("two")
    follower.look()
    assert lineup.roles.current.named.name == "two"


def test_a_trial_begins_and_ends_and_its_model_is_then_in_use_at_once(registry: Registry) -> None:
    follower, lineup, _, load = following(registry)
    registry.set_trial(Trial(shadow="one", canary="two", canary_share=0.25))
    follower.look()
    roles = lineup.roles
    assert roles.shadow is not None
    assert roles.canary is not None
    assert (roles.shadow.named.name, roles.canary.named.name, roles.share) == ("one", "two", 0.25)
    registry.use("two")
    registry.set_trial(Trial())
    follower.look()
    assert lineup.roles.current is roles.canary
    assert (lineup.roles.canary, lineup.roles.shadow) == (None, None)
    assert len(load.loaded) == 2


def test_settings_come_before_the_registry(registry: Registry) -> None:
    registry.use("one")
    registry.set_trial(Trial(shadow="one"))
    follower, lineup, _, _ = following(
        registry, model="bundled", **{"serve.shadow": "two", "serve.canary": "two"}
    )
    follower.look()
    roles = lineup.roles
    assert roles.current.named.name == "bundled"
    assert roles.shadow is not None
    assert roles.canary is not None
    assert (roles.shadow.named.name, roles.share) == ("two", 0.05)


def test_a_version_of_the_same_name_is_another_one(registry: Registry, tmp_path: Path) -> None:
    follower, lineup, _, load = following(registry)
    registry.set_trial(Trial(shadow="one"))
    follower.look()
    registry.set_trial(Trial())
    registry.remove("one")
    source = write_model(tmp_path / "other", hidden_size=4)
    with registry.draft("one", str(source)) as draft:
        draft.add([], None)
    registry.set_trial(Trial(shadow="one"))
    follower.look()
    assert len(set(load.loaded)) == 2
    assert lineup.roles.shadow is not None


def test_a_registry_that_cannot_be_read_changes_nothing(registry: Registry) -> None:
    follower, lineup, _, _ = following(registry)
    registry.use("one")
    follower.look()
    (registry.root / "state.json").write_text("{")
    follower.look()
    assert lineup.roles.current.named.name == "one"


def test_queries_go_on_while_versions_change(registry: Registry) -> None:
    follower, lineup, _, _ = following(registry)
    searcher = Searcher(ListStore(FOUND), lineup, config.load(files=[]))
    stop, failures, names = threading.Event(), [], set()

    def ask() -> None:
        while not stop.is_set():
            ranking = searcher.search("a question")
            names.add(str(ranking.model.get("name")))
            if not ranking.reranked:
                failures.append(ranking.reason)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for name in ("one", "two", "one", "two", "bundled"):
        registry.use(name)
        follower.look()
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert {"one", "two"} <= names
