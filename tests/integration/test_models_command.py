"""`two-stage models` with the bundled model and copies of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from search.models.__main__ import main
from search.models.registry import Registry
from search.rerank import CrossEncoder
from search.rerank.checkpoint import BUNDLED

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEARCH_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("SEARCH_DEVICE", "cpu")
    return tmp_path / "models"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The bundled model without its blend."""
    folder = shutil.copytree(BUNDLED, tmp_path / "plain")
    (folder / "rerank.json").unlink()
    return folder


def judged(tmp_path: Path) -> Path:
    """The packaged medical set, in BEIR layout, its judgments as dev, too."""
    folder = tmp_path / "medical"
    shutil.copytree(DATA / "medical", folder)
    for split in ("test", "dev"):  # few queries, as every one of them is scored twice
        lines = (DATA / "medical" / "qrels" / "test.tsv").read_text("utf-8").splitlines()
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines[:160]) + "\n", "utf-8")
    documents = json.loads((DATA / "medical.json").read_text("utf-8"))
    lines = (
        json.dumps({"_id": str(d["id"]), "title": d["title"], "text": d["text"]}) for d in documents
    )
    (folder / "corpus.jsonl").write_text("\n".join(lines), "utf-8")
    return folder


def test_a_version_is_checked_used_and_rolled_back(
    models: Path, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", "clinic", str(plain)]) == 0
    said = capsys.readouterr().out
    assert said.count("  ok ") == 4
    assert "35 of 35 pairs" in said
    assert "none of the bands (strong, fair, weak) is to be trusted" in said
    texts = ["Regular exercise prevents heart disease.", "The museum is closed."]
    own = CrossEncoder("clinic", device="cpu", models=models)
    assert own.info["name"] == "clinic"
    assert own.rank("how to prevent heart disease", texts)[0].index == 0
    assert main(["use", "clinic"]) == 0
    assert CrossEncoder("current", device="cpu", models=models).info["name"] == "clinic"
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))
    assert listed["current"] == "clinic"
    assert main(["remove", "clinic"]) == 2
    assert main(["rollback"]) == 0
    assert Registry(models).current == "bundled"
    assert main(["check", "clinic", "--json"]) == 0
    assert main(["remove", "clinic"]) == 0


def test_a_model_that_orders_wrongly_is_not_added(
    models: Path, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(plain / "model.safetensors")
    weights["classifier.weight"] = -weights["classifier.weight"]
    save_file(weights, plain / "model.safetensors")
    assert main(["add", "wrong", str(plain)]) == 1
    assert "expected the first higher" in capsys.readouterr().out
    assert Registry(models).names() == []
    assert main(["add", "wrong", str(plain), "--force"]) == 0
    assert main(["check", "wrong"]) == 1


def test_weights_that_are_damaged_in_the_golden_pairs_are_not_added(
    models: Path, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Noise that the known pair does not show."""
    weights = load_file(plain / "model.safetensors")
    rng = np.random.default_rng(0)
    name = "bert.encoder.layer.2.attention.self.query.weight"
    table = weights[name]
    weights[name] = (table + 0.5 * rng.standard_normal(table.shape)).astype(table.dtype)
    save_file(weights, plain / "model.safetensors")
    status = main(["add", "noisy", str(plain)])
    said = capsys.readouterr().out
    assert status == 1, said
    assert "FAILED" in said


def test_judged_queries_calibrate_a_version(
    models: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("scipy", reason="pip install -e '.[evaluate]'")
    cache = str(tmp_path / "cache")
    folder = str(judged(tmp_path))
    assert main(["add", "fitted", str(plain), "--judged", folder, "--cache", cache]) == 0
    assert "fitted on medical dev" in capsys.readouterr().out
    version = Registry(models).get("fitted")
    assert version.calibration is not None
    assert version.calibration["queries"] > 10
    assert set(version.calibration["bands"]) == {"strong", "fair", "weak"}
    assert CrossEncoder("fitted", device="cpu", models=models).blend.is_fitted
    assert main(["add", "plain", str(plain)]) == 0
    capsys.readouterr()
    arguments = ["compare", "plain", "fitted", "--data", folder, "--cache", cache, "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["queries"] > 10
    assert 0 < found["a"]["value"] <= 1
    assert found["difference"]["low"] <= found["difference"]["mean"] <= found["difference"]["high"]
