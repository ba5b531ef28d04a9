"""What is reported of a made-up pass, and what is written for other programs."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ir_measures
import numpy as np
import pytest
from evaluate_data import scored, task

from search.evaluate import derive, export, plots, report, tables, tune
from search.evaluate.calibration import measure
from search.evaluate.data import Task
from search.evaluate.derive import Pipeline
from search.evaluate.metrics import MAIN, Metrics
from search.evaluate.report import Report
from search.evaluate.session import Pass
from search.evaluate.significance import randomization_test
from search.evaluate.work import Outcome, _measure
from search.rerank import Blend
from search.rerank.blend import Formula

MODEL = Blend((Formula(0.0, {"logit": 1.0, "fused": 2.0}), Formula(0.0, {"logit": 1.0})))
PIPELINE = Pipeline(20, 1.0, 0.15)
KS = (5, 10, 20)
MADE = task(30, seed=9)
PASSES = scored(MADE, signal=2.0)


def build(made: Task = MADE, seed: int = 0, **changes: Any) -> Report:
    pipeline = replace(PIPELINE, **changes)
    return report.build(made, PASSES, pipeline, MODEL, ks=KS, weights=(0.0, 1.0), seed=seed)


def printed(renderable: object, capsys: pytest.CaptureFixture[str]) -> str:
    from rich.console import Console

    Console(width=200).print(renderable)
    return capsys.readouterr().out


def test_every_figure_is_what_its_run_file_measures(tmp_path: Path) -> None:
    found = build()
    export.write_runs(tmp_path, "t", report.stages(PASSES, PIPELINE, MODEL))
    qrels = [ir_measures.Qrel(q, d, g) for q, gs in MADE.qrels.items() for d, g in gs.items()]
    for stage in ("first", "rerank", "pipeline"):
        run = list(ir_measures.read_trec_run(str(tmp_path / f"t.{stage}.run")))
        for row in found.rows:
            parsed = ir_measures.parse_measure(row.metric)
            expected = ir_measures.calc_aggregate([parsed], qrels, run)[parsed]
            assert getattr(row, stage).mean == pytest.approx(expected, abs=1e-9)


def test_scores_of_a_run_file_decrease_strictly(tmp_path: Path) -> None:
    (path, *_) = export.write_runs(tmp_path, "t", {"first": {"q": ["b", "a", "c"]}})
    assert path.read_text().splitlines() == [
        "q Q0 b 1 3 first",
        "q Q0 a 2 2 first",
        "q Q0 c 3 1 first",
    ]


def test_the_difference_is_tested_and_counted_by_query() -> None:
    found = build()
    row = found.rows[0]
    gains = np.array(found.gains)
    assert row.metric == MAIN
    assert row.difference.mean == pytest.approx(gains.mean())
    assert row.difference.low <= gains.mean() <= row.difference.high
    assert (row.wins, row.ties, row.losses) == tuple(
        int(n) for n in ((gains > 0).sum(), (gains == 0).sum(), (gains < 0).sum())
    )
    assert row.p is not None
    assert randomization_test(gains) <= row.p < 0.05, "Holm can only raise it"
    assert found.rows[-1].metric == "R@20"
    assert found.rows[-1].p is None, "no order of the 20 candidates changes recall at 20"


def test_the_queries_that_got_worse_are_named_worst_first() -> None:
    found = build(gate=None, blend=0.0)
    losses = [change.pipeline - change.first for change in found.worse]
    assert losses == sorted(losses)
    assert len(losses) == found.rows[0].losses > 0
    for change in found.worse:
        assert change.query == MADE.queries[change.query_id]


def test_the_curve_at_the_pipelines_k_is_the_ungated_pipeline() -> None:
    found = build(gate=None)
    assert [point.k for point in found.curve] == list(KS)
    last, row = found.curve[-1], found.rows[0]
    stages = (row.first.mean, row.rerank.mean, row.pipeline.mean)
    assert (last.first, last.rerank, last.blend) == pytest.approx(stages)
    assert found.blends == pytest.approx({0.0: last.rerank, 1.0: last.blend})
    assert (last.pairs, last.milliseconds) == (20, pytest.approx(200))
    assert (found.curve[0].pairs, found.curve[0].milliseconds) == (5, pytest.approx(50))
    assert found.reranked_share == 1
    for point in found.curve:
        assert max(point.first, point.rerank, point.blend) <= point.ideal <= 1


def test_random_order_is_far_below_a_model_that_knows_the_grades() -> None:
    found = build()
    assert found.random < found.rows[0].rerank.mean - 0.1
    assert build().random == found.random != build(seed=1).random


def test_queries_without_a_relevant_document_count_as_zero_and_are_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    qrels = {**MADE.qrels, "q0": {"d1": 0}, "q1": {"d2": 0, "d3": 0}}
    found = build(replace(MADE, qrels=qrels, unjudged=4))
    assert found.without_positive == ("q0", "q1")
    row = found.rows[0]
    assert row.first_positive == pytest.approx(row.first.mean * 30 / 28)
    text = printed(tables.report(found), capsys)
    assert "2 queries have no relevant document and count as 0" in text
    assert "4 queries have no judgments in this split" in text


def test_a_grade_too_low_for_rr_still_counts_in_ndcg() -> None:
    qrels = {**MADE.qrels, "q0": {"d1": 1}}
    found = report.build(
        replace(MADE, qrels=qrels), PASSES, PIPELINE, MODEL, ks=KS, weights=(), min_grade=2
    )
    assert found.without_positive == ()
    assert found.rows[0].first_positive == found.rows[0].first.mean


def test_all_but_the_recall_of_all_candidates_is_tested() -> None:
    untested = [row.metric for row in build(candidates=5).rows if row.p is None]
    assert untested == ["R@5"]


def test_probabilities_are_measured_as_a_search_with_these_settings_gives_them() -> None:
    passed = Pass(MADE, PASSES, KS)

    def strong(factor: float) -> int:
        session: Any = SimpleNamespace(pipeline=lambda _: Pipeline(20, factor))
        [found] = _measure(session, [passed], MODEL, "", Namespace(min_grade=1)).values()
        return found.bands[0].documents

    expected = MODEL.with_first_stage(0)
    shown = [p for one in PASSES for p in derive.best_log_odds(one, 20, expected).values()]
    assert strong(0.0) < strong(1.0)
    assert strong(0.0) <= sum(log_odds > np.log(0.8 / 0.2) for log_odds in shown)


def test_a_reranker_no_better_than_chance_is_called_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reversed_head = scored(MADE, signal=-8.0)
    found = report.build(MADE, reversed_head, Pipeline(20, 0.0), MODEL, ks=KS, weights=())
    assert "sign wrong" in printed(tables.report(found), capsys)
    assert "sign wrong" not in printed(tables.report(build()), capsys)
    nothing_found = [replace(one, document_ids=("elsewhere",) * 20) for one in PASSES]
    found = report.build(MADE, nothing_found, PIPELINE, MODEL, ks=KS, weights=())
    assert "sign wrong" not in printed(tables.report(found), capsys)


def outcome() -> Outcome:
    tuning = tune.tune([(MADE, PASSES)], [MODEL], KS, (0.0, 1.0), 0.01)
    rng = np.random.default_rng(0)
    calibration = measure(rng.random(100), rng.integers(0, 2, 100).astype(float))
    return Outcome({"t": build()}, {}, tuning, {"t, dev": calibration}, [])


def test_json_holds_everything_and_is_plain_json(tmp_path: Path) -> None:
    export.write_json(tmp_path / "sub" / "r.json", export.as_json(outcome(), {"name": "m"}))
    content = json.loads((tmp_path / "sub" / "r.json").read_text(encoding="utf-8"))
    assert content["model"] == {"name": "m"}
    assert len(content["tasks"]["t"]["gains"]) == 30
    assert content["tasks"]["t"]["pipeline"] == {"candidates": 20, "blend": 1.0, "gate": 0.15}
    assert content["tuning"]["chosen"]["pipeline"]["candidates"] in KS
    assert [band["name"] for band in content["calibration"]["t, dev"]["bands"]] == [
        "strong",
        "fair",
        "weak",
    ]


def test_tables_of_tuning_and_calibration(capsys: pytest.CaptureFixture[str]) -> None:
    made = outcome()
    assert made.tuning is not None
    text = printed(tables.tuning(made.tuning), capsys)
    assert f"{made.tuning.chosen.ndcg:.4f}" in text
    assert "(bound 0.01)" in text
    name, calibration = next(iter(made.calibrations.items()))
    text = printed(tables.calibration(name, calibration), capsys)
    assert "NO" in text, "coin flips do not hold the bands"
    assert f"{calibration.expected_error:.4f}" in text


def test_pictures_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra 'evaluate'")
    paths = plots.save_all(tmp_path, outcome())
    assert sorted(path.name for path in paths) == [
        "gate.png",
        "t.dev.reliability.png",
        "t.gain.png",
        "t.k-curve.png",
    ]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 5_000


def test_metrics_of_the_ideal_order_are_one_where_all_is_found() -> None:
    ideal = {q: sorted(grades, key=lambda d: -grades[d]) for q, grades in MADE.qrels.items()}
    assert Metrics(MADE.qrels, [MAIN])(ideal)[MAIN] == pytest.approx(1.0)


def test_text_of_a_data_set_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    odd = report.Change("[/etc/hosts]", "[not available] \x1b[31m", 1.0, 0.5)
    said = printed(tables.report(replace(build(), worse=(odd,))), capsys)
    assert "[/etc/hosts]  [not available] \\x1b[31m" in said
