"""What tuning and fitting leave behind is read by `config.load` and by the engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import config
from search.errors import ConfigError
from search.evaluate.derive import Pipeline
from search.evaluate.tune import Setting, Tuning
from search.evaluate.writing import write_model, write_settings
from search.rerank import Blend
from search.rerank.blend import Formula
from search.rerank.checkpoint import read_blend


def tuning(pipeline: Pipeline) -> Tuning:
    chosen = Setting(pipeline, 0.7123, 12.5, 0.6)
    best = Setting(Pipeline(50, 3.0), 0.715, 50.0, 1.0)
    return Tuning(chosen, best, 0.7, 0.005, (best, chosen))


def test_search_uses_what_was_tuned_and_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text("# mine\nalpha: 0.7\ncandidates: 99  # old\nweaviate:\n  collection: Kept\n")
    write_settings(file, tuning(Pipeline(20, 2.5, 0.3142)), config.load(files=[]))
    settings = config.load(files=[file])
    assert (settings.candidates, settings.blend, settings.gate) == (20, 2.5, 0.3142)
    assert (settings.alpha, settings.weaviate.collection) == (0.7, "Kept")
    write_settings(
        file,
        tuning(Pipeline(10, 1.0, None)),
        config.load({"model": "my model", "retrieval": "bm25"}, files=[]),
    )
    settings = config.load(files=[file])
    assert (settings.candidates, settings.blend, settings.gate) == (10, None, None)
    assert (settings.model, settings.retrieval) == ("my model", "bm25")
    assert settings.gate_tuned_for == "bm25 my model"
    text = file.read_text()
    assert text.startswith("# mine\n")
    assert text.count("# Tuned by search.evaluate") == text.count("candidates:") == 1


def test_settings_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_settings(tmp_path, tuning(Pipeline(20, 2.5)), config.load(files=[]))


def test_the_engine_reads_what_was_fitted_and_other_entries_stay(tmp_path: Path) -> None:
    (tmp_path / "rerank.json").write_text(json.dumps({"trained_on": "x", "log_odds": []}))
    fitted = Blend((Formula(-1.0, {"logit": 0.5, "fused": 2.0}), Formula(0.0, {"logit": 0.8})), "e")
    path = write_model(tmp_path, fitted)
    assert read_blend(tmp_path) == fitted
    assert json.loads(path.read_text())["trained_on"] == "x"
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"rerank\.json"):
        write_model(tmp_path, fitted)


def test_a_model_file_that_cannot_be_written_keeps_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_model(tmp_path, Blend())
    before = path.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConfigError, match="No space left"):
        write_model(tmp_path, Blend(embedding="other"))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["rerank.json"]
