"""The command on a small BEIR folder: real store, real embedding model, a tiny real reranker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import ir_measures
import pytest
from tiny_models import write_bert

import config
from search.evaluate.__main__ import main
from search.rerank import CrossEncoder
from search.rerank.encoder import PROBE_QUERY, PROBE_RIGHT, PROBE_WRONG
from search.searcher import Searcher
from search.store.open import open_store

TOPICS = ["heart attack", "migraine", "asthma", "diabetes", "broken wrist", "hay fever"]
ASPECTS = ["signs", "causes", "treatment", "prevention"]
Json = dict[str, Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 documents, of which one has 3 passages; a query for each aspect of each topic."""
    root = tmp_path_factory.mktemp("sets") / "aspects"
    (root / "qrels").mkdir(parents=True)
    corpus, queries = [], []
    qrels: dict[str, list[str]] = {"dev": [], "test": []}
    for t, topic in enumerate(TOPICS):
        for a, aspect in enumerate(ASPECTS):
            text = f"{aspect.title()} of {topic}: what doctors say about the {aspect} of {topic}. "
            long = text * (60 if (t, a) == (0, 0) else 1)
            corpus.append({"_id": f"d{t}{a}", "title": f"{topic}, {aspect}", "text": long})
            queries.append({"_id": f"q{t}{a}", "text": f"{aspect} of {topic}?"})
            rows = qrels["dev" if t % 2 else "test"]
            rows += [f"q{t}{a}\td{t}{b}\t{2 if b == a else b % 2}" for b in range(len(ASPECTS))]
    for name, records in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps(record) + "\n" for record in records]
        (root / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    for split, rows in qrels.items():
        (root / "qrels" / f"{split}.tsv").write_text(
            "\n".join(["query-id\tcorpus-id\tscore", *rows, ""]), encoding="utf-8"
        )
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def evaluate(folder: Path, model: Path, cache: Path, out: Path, *flags: str) -> Json:
    status = main(
        [
            *(str(folder), "--model", str(model), "--cache", str(cache)),
            *("--set", "precision=fp32", "--k", "3,5,10", "--blend", "0,1,2"),
            *("--json", str(out / "r.json"), "--runs", str(out / "runs"), *flags),
        ]
    )
    assert status == 0
    found: Json = json.loads((out / "r.json").read_text(encoding="utf-8"))
    return found


def read_run(path: Path) -> dict[str, list[str]]:
    run: dict[str, list[str]] = {}
    for row in ir_measures.read_trec_run(str(path)):
        run.setdefault(row.query_id, []).append(row.doc_id)
    return run


def searched(folder: Path, settings: config.Settings, queries: list[str]) -> dict[str, list[str]]:
    """What `search` itself answers with these settings."""
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {record["_id"]: record["text"] for record in map(json.loads, lines)}
    with Searcher.from_settings(settings) as searcher:
        return {i: [hit.id for hit in searcher.search(texts[i]).hits] for i in queries}


def settings_for(cache: Path, model: Path, files: list[Path], **flags: Any) -> config.Settings:
    (store,) = (cache / "aspects").glob("store-*.db")
    given = {"store": store, "model": str(model), "precision": "fp32", "limit": 100}
    return config.load(given | flags, files=files)


def test_a_folder_is_ingested_and_scored_once(
    folder: Path,
    model: Path,
    cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = evaluate(folder, model, cache, tmp_path)
    printed = capsys.readouterr()
    assert "ingesting aspects" in printed.err
    assert "12/12 queries, done" in printed.err
    assert "pipeline" in printed.out
    report = first["tasks"]["aspects"]
    assert (report["queries"], report["unjudged"]) == (12, 12)
    assert [point["k"] for point in report["curve"]] == [3, 5, 10]
    assert report["random"] < report["rows"][0]["first"]["mean"]

    load = CrossEncoder.load

    def without_scoring(settings: config.Settings) -> CrossEncoder:
        loaded = load(settings)
        monkeypatch.setattr(loaded, "score_pairs", None)
        return loaded

    monkeypatch.setattr(CrossEncoder, "load", without_scoring)
    again = evaluate(folder, model, cache, tmp_path)
    assert again == first
    assert "ingesting" not in capsys.readouterr().err


@pytest.mark.parametrize(("k", "blend"), [(3, 0), (5, 2), (10, 6)])
def test_derived_runs_are_what_search_answers(
    folder: Path, model: Path, cache: Path, tmp_path: Path, k: int, blend: int
) -> None:
    flags = ("--set", f"candidates={k}", "--set", f"blend={blend}")
    evaluate(folder, model, cache, tmp_path, *flags)
    run = read_run(tmp_path / "runs" / "aspects.pipeline.run")
    settings = settings_for(cache, model, [], candidates=k, blend=blend)
    assert searched(folder, settings, list(run)) == run
    first = read_run(tmp_path / "runs" / "aspects.first.run")
    plain = settings_for(cache, model, [], candidates=k, rerank=False)
    assert searched(folder, plain, list(first)) == first


def test_search_with_the_tuned_settings_gives_the_run_reported(
    folder: Path, model: Path, cache: Path, tmp_path: Path
) -> None:
    written = tmp_path / "search.yaml"
    found = evaluate(
        folder, model, cache, tmp_path, "--tune", "--bound", "0.02", "--write", str(written)
    )
    settings = settings_for(cache, model, [written])
    tuned = {"candidates": settings.candidates, "blend": settings.blend, "gate": settings.gate}
    assert found["tuning"]["chosen"]["pipeline"] == tuned
    assert found["tasks"]["aspects"]["pipeline"] == tuned
    assert found["tuning"]["chosen"]["ndcg"] >= found["tuning"]["best"]["ndcg"] - 0.02
    run = read_run(tmp_path / "runs" / "aspects.pipeline.run")
    assert searched(folder, settings, list(run)) == run


def test_a_judged_pool_ranks_exactly_the_judged_documents(
    folder: Path, model: Path, cache: Path, tmp_path: Path
) -> None:
    found = evaluate(folder, model, cache, tmp_path, "--judged-pool", "--min-grade", "2")
    rows = {row["metric"]: row for row in found["tasks"]["aspects"]["rows"]}
    assert {"nDCG@10", "RR(rel=2)@5", "Success(rel=2)@5"} < set(rows)
    for stage in ("first", "rerank", "pipeline"):
        for query_id, ranking in read_run(tmp_path / "runs" / f"aspects.{stage}.run").items():
            assert sorted(ranking) == [f"d{query_id[1]}{a}" for a in range(len(ASPECTS))]


def test_a_fitted_model_is_read_by_search(folder: Path, cache: Path, tmp_path: Path) -> None:
    own = write_bert(tmp_path / "own")
    fitted = evaluate(folder, own, cache, tmp_path, "--calibrate", "--write-model")
    calibration = fitted["calibration"]
    assert calibration["aspects, dev, fitted"]["expected_error"] < 0.2
    formulas = json.loads((own / "rerank.json").read_text())["log_odds"]
    assert {"logit", "fused", "cosine", "constant"} == formulas[0].keys()
    after = evaluate(folder, own, cache, tmp_path)  # the blend is the model's own now
    assert after["tasks"]["aspects"]["rows"] == fitted["tasks"]["aspects"]["rows"]
    run = read_run(tmp_path / "runs" / "aspects.pipeline.run")
    assert searched(folder, settings_for(cache, own, [], candidates=10), list(run)) == run


def test_golden_pairs_decide_the_exit_status(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = {"query": PROBE_QUERY, "better": PROBE_RIGHT, "worse": PROBE_WRONG}
    wrong = {"query": PROBE_QUERY, "better": PROBE_WRONG, "worse": PROBE_RIGHT}
    file = tmp_path / "golden.jsonl"
    file.write_text(json.dumps(right) + "\n")
    assert main(["--golden", str(file), "--model", str(model)]) == 0
    file.write_text(json.dumps(right) + "\n" + json.dumps(wrong) + "\n")
    assert main(["--golden", str(file), "--model", str(model)]) == 1
    assert "WRONG line 2" in capsys.readouterr().out


def test_a_corpus_that_shrank_is_ingested_again(folder: Path, model: Path, tmp_path: Path) -> None:
    """The store is the corpus's own: what is gone goes, however much it is."""
    shorter = tmp_path / "aspects"
    shutil.copytree(folder, shorter)
    evaluate(shorter, model, tmp_path / "cache", tmp_path)
    corpus = shorter / "corpus.jsonl"
    kept = corpus.read_text(encoding="utf-8").splitlines(keepends=True)[:6]
    corpus.write_text("".join(kept), encoding="utf-8")
    evaluate(shorter, model, tmp_path / "cache", tmp_path)
    (path,) = (tmp_path / "cache" / "aspects").glob("store-*.db")
    store = open_store(config.load({"store": path}, files=[]))
    try:
        assert store.describe().documents == 6
    finally:
        store.close()


def test_a_report_that_cannot_be_written_is_named(
    folder: Path,
    model: Path,
    cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "report.json"
    flags = ["--model", str(model), "--set", "precision=fp32", "--k", "3,5,10"]
    assert main([str(folder), *flags, "--cache", str(cache), "--json", str(out)]) == 2
    said = capsys.readouterr()
    assert "nDCG@10" in said.out
    assert f"{tmp_path / 'file'}: cannot be read or written" in said.err
