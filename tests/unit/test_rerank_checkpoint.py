from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_folders import WORDS, write_json, write_model, write_tokenizer

from search.errors import CheckpointError
from search.rerank import checkpoint
from search.rerank.blend import ModelSettings
from search.rerank.checkpoint import open_checkpoint, read_settings


def test_a_good_folder_passes(tmp_path: Path) -> None:
    found = open_checkpoint(str(write_model(tmp_path)))
    assert found.positions == 64
    assert found.settings == ModelSettings()
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
    (lambda f: write_json(f / "rerank.json", {"blend": {"weight": "x"}}), "a blend weight of at"),
    (lambda f: write_json(f / "rerank.json", {"calibration": {"slope": -1}}), "slope above 0"),
    (lambda f: write_json(f / "rerank.json", {"calibration": 3}), "expected finite numbers"),
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


def test_settings_are_read_from_the_model_folder(tmp_path: Path) -> None:
    content = {"calibration": {"slope": 0.7, "intercept": -0.2}, "blend": {"weight": 1.5}}
    write_json(tmp_path / "rerank.json", content)
    assert read_settings(tmp_path) == ModelSettings(0.7, -0.2, 1.5)
    write_json(tmp_path / "rerank.json", {"blend": {"weight": 2}})
    assert read_settings(tmp_path) == ModelSettings(1.0, 0.0, 2.0)
