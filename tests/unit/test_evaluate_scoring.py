"""The pass: every pair once, kept in a file, taken up where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from evaluate_data import candidates, score_pairs, task

from search.evaluate import scoring
from search.evaluate.data import Task
from search.evaluate.scoring import ScoreCache, ScoredQuery, run_pass
from search.types import Candidate


class Killed(Exception):
    pass


class Scorer:
    """Counts the pairs it scores; fails at its n-th call, as a kill would."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.calls = 0
        self.dies_at = dies_at

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        self.calls += 1
        if self.calls == self.dies_at:
            raise Killed
        self.pairs += pairs
        return score_pairs(pairs)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PAIRS_PER_STEP", 64)  # three or four queries


def run(made: Task, folder: Path, scorer: Scorer, depth: int = 20) -> list[ScoredQuery]:
    def retrieve(query_id: str, query: str) -> Sequence[Candidate]:
        return candidates(query_id)[:depth]

    cache = ScoreCache(folder, {"model": "m", "store": "s"})
    found = run_pass(made, depth, retrieve, scorer, cache, lambda done, total: None)
    return [replace(scored, milliseconds=0) for scored in found]


def test_every_pair_is_scored_once_and_a_second_run_scores_nothing(tmp_path: Path) -> None:
    made, first, second = task(10), Scorer(), Scorer()
    found = run(made, tmp_path, first)
    assert len(first.pairs) == len(set(first.pairs)) == 10 * 20
    assert first.calls == 3, "queries share a call, so that short and long pairs fill its batches"
    assert [scored.query_id for scored in found] == list(made.queries)
    expected = [scoring.passage_input(c.title, c.passage) for c in candidates("q4")]
    assert found[4].logits == tuple(score_pairs([("question q4", text) for text in expected]))
    assert run(made, tmp_path, second) == found
    assert second.calls == 0


def test_an_interrupted_pass_goes_on_where_it_stopped(tmp_path: Path) -> None:
    made, broken, rest = task(10), Scorer(dies_at=3), Scorer()
    whole = run(made, tmp_path / "undisturbed", Scorer())
    with pytest.raises(Killed):
        run(made, tmp_path / "killed", broken)
    assert run(made, tmp_path / "killed", rest) == whole
    assert len(broken.pairs) + len(rest.pairs) == 10 * 20


@pytest.mark.parametrize("lost", [1, 40, 700])
def test_a_line_that_a_kill_cut_off_is_scored_again(tmp_path: Path, lost: int) -> None:
    made = task(10)
    whole = run(made, tmp_path, Scorer())
    file = next(tmp_path.glob("scores-*.jsonl"))
    file.write_bytes(file.read_bytes()[:-lost])
    again = Scorer()
    assert run(made, tmp_path, again) == whole
    assert run(made, tmp_path, Scorer(dies_at=1)) == whole, "the mended file is whole"


def test_a_shallower_pass_is_cut_from_a_deeper_one(tmp_path: Path) -> None:
    made = task(5)
    run(made, tmp_path, Scorer(), depth=20)
    shallow = run(made, tmp_path, Scorer(dies_at=1), depth=7)
    assert shallow == run(made, tmp_path / "fresh", Scorer(), depth=7)


def test_a_changed_query_or_model_is_scored_anew(tmp_path: Path) -> None:
    made = task(5)
    run(made, tmp_path, Scorer())
    changed = replace(made, queries={**made.queries, "q2": "another question"})
    scorer = Scorer()
    run(changed, tmp_path, scorer)
    assert {query for query, _ in scorer.pairs} == {"another question"}
    ScoreCache(tmp_path, {"model": "another", "store": "s"})
    assert len(list(tmp_path.glob("scores-*.jsonl"))) == 2


def test_progress_counts_queries(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    cache = ScoreCache(tmp_path, {})
    run_pass(
        task(10),
        20,
        lambda query_id, query: candidates(query_id),
        score_pairs,
        cache,
        lambda done, total: seen.append((done, total)),
    )
    assert seen == [(0, 10), (4, 10), (8, 10), (10, 10)]
