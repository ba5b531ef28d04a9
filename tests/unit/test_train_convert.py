"""Int8 ONNX back to a folder: a quantized one-layer graph against its own numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import BertProcessing

from search.embed import read_pooling
from search.errors import CheckpointError
from training.convert import convert
from training.convert.__main__ import main
from training.panel import load_panel

onnx = pytest.importorskip("onnx", reason="the 'convert' extra is not installed")

PREFIX = "bert.encoder.layer.0."


def write_quantized(folder: Path) -> dict[str, np.ndarray]:
    """Tables and one dense layer as onnxruntime's dynamic quantization lays them out."""
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir()
    draw = np.random.default_rng(0)
    tables = {"word": (7, 32), "position": (9, 32), "token_type": (2, 32)}
    arrays, expected = {}, {}
    for name, shape in tables.items():
        stem = f"bert.embeddings.{name}_embeddings.weight"
        quantized = draw.integers(0, 255, shape, dtype=np.uint8)
        arrays[f"{stem}_quantized"] = quantized
        arrays[f"{stem}_zero_point"] = np.array(128, np.uint8)
        arrays[f"{stem}_scale"] = np.array(0.5, np.float32)
        expected[stem] = (quantized.astype(np.float32) - 128) * 0.5
    dense = draw.integers(-127, 127, (32, 64), dtype=np.int8)
    arrays["onnx::MatMul_9_quantized"] = dense
    arrays["onnx::MatMul_9_zero_point"] = np.array(0, np.int8)
    arrays["onnx::MatMul_9_scale"] = np.array(0.25, np.float32)
    arrays[f"{PREFIX}intermediate.dense.bias"] = np.ones(64, np.float32)
    expected[f"{PREFIX}intermediate.dense.weight"] = dense.T.astype(np.float32) * 0.25
    nodes = [
        helper.make_node("MatMulInteger", ["x", "onnx::MatMul_9_quantized"], ["product"]),
        helper.make_node("Cast", ["product"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "scales"], ["scaled"]),
        helper.make_node("Add", [f"{PREFIX}intermediate.dense.bias", "scaled"], ["y"]),
    ]
    initial = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    x = helper.make_tensor_value_info("x", TensorProto.INT8, [1, 32])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])
    graph = helper.make_graph(nodes, "toy", [x], [y], initial)
    onnx.save(helper.make_model(graph), str(folder / "model.onnx"))
    words = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c"))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text("{}")
    return expected


def test_weights_come_back_scaled_turned_and_named_by_their_bias(tmp_path: Path) -> None:
    expected = write_quantized(tmp_path / "int8")
    assert convert(tmp_path / "int8", tmp_path / "out") == 5  # with the bias
    found = load_file(tmp_path / "out" / "model.safetensors")
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["vocab_size"], config["max_position_embeddings"]) == (7, 9)
    assert (config["num_hidden_layers"], config["intermediate_size"]) == (1, 64)
    assert config["architectures"] == ["BertModel"]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no ONNX model at .*model\.onnx"):
        convert(tmp_path, tmp_path / "out")


def test_the_command_gives_a_message_for_a_bad_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), str(tmp_path / "out")]) == 1
    assert "no ONNX model" in capsys.readouterr().err


def test_an_encoder_is_described_as_sentence_transformers_reads_it(tmp_path: Path) -> None:
    write_quantized(tmp_path / "int8")
    out = tmp_path / "out"
    arguments = [str(tmp_path / "int8"), str(out), "--pooling", "cls", "--query-prompt", "find: "]
    assert main(arguments) == 0
    assert read_pooling(out) == "cls"
    [encoder] = load_panel([out])
    assert encoder.info.query_prefix == "find: "
