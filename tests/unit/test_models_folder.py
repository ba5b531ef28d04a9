from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub
import pytest
from tiny_folders import write_json, write_model

from search.errors import ModelError
from search.models.folder import (
    find_folder,
    fingerprint,
    usable_positions,
    usual_length,
    weight_files,
)


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert find_folder(str(tmp_path)) == tmp_path


def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub() -> None:
    with pytest.raises(ModelError, match="found no such folder; expected a folder with config"):
        find_folder("./models/mine")


@pytest.mark.parametrize("reason", ["no route to host", ""])
def test_without_a_network_the_fix_is_said(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    def offline(*args: object, **kwargs: object) -> str:
        raise ConnectionError(reason)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    said = reason or "ConnectionError"
    with pytest.raises(ModelError, match=rf"{said}.*hf download BAAI/bge-reranker-v2-m3"):
        find_folder("BAAI/bge-reranker-v2-m3")


@pytest.mark.parametrize(("complete", "asked"), [(True, [True]), (False, [True, False])])
def test_the_hub_is_asked_only_when_the_cache_is_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: bool, asked: list[bool]
) -> None:
    calls = []

    def snapshot(name: str, allow_patterns: list[str], local_files_only: bool) -> str:
        calls.append(local_files_only)
        return str(tmp_path)

    write_model(tmp_path)
    if not complete:
        (tmp_path / "model.safetensors").unlink()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert find_folder("someone/model") == tmp_path
    assert calls == asked


def test_shards_are_found_and_a_missing_one_is_named(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    write_json(tmp_path / "model.safetensors.index.json", index)
    with pytest.raises(ModelError, match=r"names model-2\.safetensors, which is not there"):
        weight_files(tmp_path)
    shutil.copy(tmp_path / "model-1.safetensors", tmp_path / "model-2.safetensors")
    assert [path.name for path in weight_files(tmp_path)] == list(index["weight_map"].values())


@pytest.mark.parametrize("index", [{}, {"weight_map": ["model-1.safetensors"]}])
def test_an_index_without_a_map_is_named(tmp_path: Path, index: object) -> None:
    write_json(tmp_path / "model.safetensors.index.json", index)
    with pytest.raises(ModelError, match=r"index\.json: found no weight_map"):
        weight_files(tmp_path)


def test_the_fingerprint_follows_weights_and_tokenizer_only(tmp_path: Path) -> None:
    first = fingerprint(write_model(tmp_path / "one"))
    write_json(tmp_path / "one" / "README.json", {})
    assert fingerprint(tmp_path / "one") == first
    assert fingerprint(write_model(tmp_path / "two")) == first
    with (tmp_path / "one" / "model.safetensors").open("ab") as file:
        file.write(b"x")
    assert fingerprint(tmp_path / "one") != first


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": None}, 512),
        ({"model_type": "t5"}, None),
    ],
)
def test_usable_positions(config: dict[str, object], expected: int | None) -> None:
    assert usable_positions(config) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [(320, 320), (int(1e30), None), (1e30, None), (8, None), (True, None), ("512", None)],
)
def test_a_length_that_says_nothing_is_none(
    tmp_path: Path, written: object, expected: int | None
) -> None:
    assert usual_length(tmp_path) is None
    write_json(tmp_path / "tokenizer_config.json", {"model_max_length": written})
    assert usual_length(tmp_path) == expected
