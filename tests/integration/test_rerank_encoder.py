from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import write_bert, write_xlm_roberta

import config
from search.engine.placement import place
from search.errors import CheckpointError, ConfigError, ModelError, QueryTooLong
from search.rerank import CrossEncoder
from search.rerank.encoder import PROBE_QUERY, PROBE_RIGHT, PROBE_WRONG

FILLER = "The house has a red door and a small garden. "


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def encoder(bert: Path) -> CrossEncoder:
    return CrossEncoder(bert, device="cpu", precision="fp32", max_length=64, window_overlap=16)


def test_each_window_scores_as_a_text_of_its_own_and_the_best_counts(encoder: CrossEncoder) -> None:
    """Whole sentences of known tokens, so that each window can be scored alone as well."""
    text = FILLER * 12 + PROBE_RIGHT + " " + FILLER * 5
    (scored,) = encoder.score_pairs([(PROBE_QUERY, text)])
    start, end = scored.span
    assert 0 <= start < end <= len(text)
    (alone,) = encoder.score(PROBE_QUERY, [text[start:end]], raw=True)
    assert scored.logit == pytest.approx(alone, abs=1e-4)
    windows = encoder._pairs.windows([(PROBE_QUERY, text)])
    assert len(windows) > 3
    every = encoder.score(PROBE_QUERY, [text[a:b] for _, _, (a, b) in windows], raw=True)
    assert scored.logit == pytest.approx(max(every), abs=1e-4)


def test_many_queries_at_once_score_as_one_by_one(encoder: CrossEncoder) -> None:
    pairs = [(PROBE_QUERY, PROBE_RIGHT), ("red door", FILLER), (PROBE_QUERY, PROBE_WRONG)]
    together = [scored.logit for scored in encoder.score_pairs(pairs)]
    alone = [encoder.score(query, [text], raw=True)[0] for query, text in pairs]
    assert together == pytest.approx(alone, abs=1e-4)
    assert encoder.score_pairs([]) == []


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_threads_may_share_an_encoder(bert: Path, engine: str) -> None:
    model = CrossEncoder(bert, device="cpu", precision="fp32", engine=engine, batch_tokens=200)
    cases = [[FILLER * (n % 5 + 1) + str(n * m) for n in range(12)] for m in range(6)]
    alone = [model.score(PROBE_QUERY, texts, raw=True) for texts in cases]
    with ThreadPoolExecutor(6) as threads:
        together = list(
            threads.map(lambda texts: model.score(PROBE_QUERY, texts, raw=True), cases * 3)
        )
    for ours, expected in zip(together, alone * 3, strict=True):
        assert ours == pytest.approx(expected, abs=1e-5)


def test_a_text_that_fits_is_one_window_over_all_of_it(encoder: CrossEncoder) -> None:
    assert encoder.score_pairs([(PROBE_QUERY, FILLER)])[0].span == (0, len(FILLER))


def test_a_long_query_is_refused_never_cut(encoder: CrossEncoder) -> None:
    with pytest.raises(QueryTooLong, match=r"expected at most 30.*, or raise max_length$"):
        encoder.score("heart " * 31, ["a"])
    with pytest.raises(QueryTooLong, match=r": shorten it$"):  # no max_length has room for that
        encoder.score("heart " * 400, ["a"])


def test_usable_positions_bound_max_length(tmp_path: Path) -> None:
    """514 positions of XLM-R's kind are 512; a longer input would read beyond the table."""
    model = CrossEncoder(write_xlm_roberta(tmp_path), device="cpu", max_length=2000)
    assert model.info["max_length"] == 512
    (scored,) = model.score_pairs([(PROBE_QUERY, PROBE_WRONG * 30)])
    assert scored.span[1] - scored.span[0] < len(PROBE_WRONG * 30)


def test_the_models_own_calibration_and_blend_are_used(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "calibrated"
    shutil.copytree(bert, folder)
    settings = {"log_odds": [{"constant": -1, "logit": 0.5}]}
    (folder / "rerank.json").write_text(json.dumps(settings))
    model = CrossEncoder.load(config.load({"model": str(folder), "device": "cpu"}, files=[]))
    (logit,) = model.score(PROBE_QUERY, [PROBE_RIGHT], raw=True)
    (probability,) = model.score(PROBE_QUERY, [PROBE_RIGHT])
    assert probability == pytest.approx(torch.tensor(0.5 * logit - 1).sigmoid().item())
    assert model.blend.log_odds(4.0) == 1.0
    assert model.info["name"] == str(folder)
    assert model.info["device"] == "cpu"


def test_a_head_that_would_be_random_is_refused(tmp_path: Path) -> None:
    weights = load_file(write_bert(tmp_path) / "model.safetensors")
    bare = {name: w for name, w in weights.items() if not name.startswith("classifier")}
    save_file(bare, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"found no weights for classifier\.weight"):
        CrossEncoder(tmp_path, device="cpu")


def test_weights_that_cannot_tell_right_from_wrong_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected the first higher by 0\.5 at least"):
        CrossEncoder(write_bert(tmp_path, aligned=False), device="cpu")


def test_another_tokenizer_is_probed_anew(bert: Path, tmp_path: Path) -> None:
    """What passed is remembered, but not for other files."""
    folder = tmp_path / "mixed"
    shutil.copytree(bert, folder)
    CrossEncoder(folder, device="cpu", precision="fp32")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    ids = tokenizer["model"]["vocab"]
    words = [word for word in ids if not word.startswith("[")]
    ids |= dict(zip(words, (ids[word] for word in reversed(words)), strict=True))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match=r"expected the first higher by 0\.5 at least"):
        CrossEncoder(folder, device="cpu", precision="fp32")


def test_weights_that_give_no_numbers_are_refused(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(bert, folder)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="2 of 2 scores that are not numbers"):
        CrossEncoder(folder, device="cpu")


def test_an_architecture_without_a_classifier_is_refused(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unknown"
    shutil.copytree(bert, folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"model_type": "clap_trap"}))
    with pytest.raises(CheckpointError, match=r"transformers cannot load it .*clap_trap"):
        CrossEncoder(folder, device="cpu")


def test_a_device_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"'device' has value 'cuda:99'; found here: .*cpu"):
        place("cuda:99")


def test_a_precision_that_the_device_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(ConfigError, match="'precision' has value 'fp16', which cpu cannot do"):
        place("cpu", "fp16")
