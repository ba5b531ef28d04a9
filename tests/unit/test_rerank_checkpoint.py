from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_folders import WORDS, write_json, write_model, write_tokenizer

from search.errors import CheckpointError
from search.rerank import checkpoint
from search.rerank.blend import Blend, Formula
from search.rerank.checkpoint import open_checkpoint, read_blend


def test_a_good_folder_passes(tmp_path: Path) -> None:
    found = open_checkpoint(str(write_model(tmp_path)))
    assert found.positions == 64
    assert found.blend == Blend()
    assert found.tokenizer.vocabulary_size == len(WORDS)


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def small_table(folder: Path) -> None:
    table = {"bert.embeddings.word_embeddings.weight": np.zeros((4, 2), np.float32)}
    save_file(table, str(folder / "model.safetensors"))


def small_model(folder: Path) -> None:
    write_model(folder, vocab_size=4)
    small_table(folder)


def not_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: (f / "config.json").unlink(), r"found no config\.json"),
    (lambda f: (f / "config.json").write_text("{"), r"config\.json: cannot be read as JSON"),
    (lambda f: (f / "config.json").write_text("[]"), "found a list, expected a JSON object"),
    (lambda f: (f / "model.safetensors").unlink(), r"found no weights; expected model\.safetens"),
    (only_pickle, r"found only pytorch_model\.bin; expected model\.safetensors"),
    (not_safetensors, r"cannot be read as safetensors .*copy or download it again"),
    (lambda f: (f / "tokenizer.json").unlink(), r"found no tokenizer\.json"),
    (lambda f: write_model(f, id2label={"0": "no", "1": "yes"}), "found 2 labels .* expected 1"),
    (lambda f: write_model(f, id2label=None, num_labels=3), "found 3 labels"),
    (small_table, "says vocab_size 11, but the weights have 4"),
    (small_model, "the tokenizer has 11 tokens, the weights only 4"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_each_fault_is_named(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    write_model(tmp_path)
    spoil(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(str(tmp_path))


def test_an_embedding_table_may_be_padded_beyond_the_tokenizer(tmp_path: Path) -> None:
    write_model(tmp_path)
    write_tokenizer(tmp_path, WORDS[:-2])
    assert open_checkpoint(str(tmp_path)).tokenizer.vocabulary_size == len(WORDS) - 2


def test_a_missing_bundled_model_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "BUNDLED", tmp_path / "bundled")
    with pytest.raises(CheckpointError, match=r"lacks the bundled .*set model to a folder"):
        open_checkpoint("bundled")


def test_the_blend_is_read_from_the_model_folder(tmp_path: Path) -> None:
    formulas = [{"constant": -1, "logit": 0.7, "fused": 2}, {"logit": 0.5}]
    write_json(tmp_path / "rerank.json", {"embedding": "mine", "log_odds": formulas})
    assert read_blend(tmp_path) == Blend(
        (Formula(-1.0, {"logit": 0.7, "fused": 2.0}), Formula(0.0, {"logit": 0.5})), "mine"
    )


@pytest.mark.parametrize(
    "content",
    [
        {"calibration": {"slope": 0.7}, "blend": {"weight": 1.5}},  # as older versions wrote it
        {"log_odds": []},
        {"log_odds": [{"constant": 1}]},
        {"log_odds": [{"logit": -1}]},
        {"log_odds": [{"logit": "x"}]},
        {"log_odds": [{"logit": 1, "logits": 1}]},
        {"log_odds": [{"logit": 1, "constant": float("nan")}]},
        {"log_odds": [{"logit": 1, "fused": 1}]},
        {"log_odds": 3},
    ],
)
def test_an_unusable_blend_is_refused_with_the_fix(tmp_path: Path, content: object) -> None:
    write_json(tmp_path / "rerank.json", content)
    with pytest.raises(CheckpointError, match=r"rerank\.json: expected .*delete it"):
        read_blend(tmp_path)
