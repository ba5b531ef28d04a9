"""Turn an int8 ONNX BERT (dynamic quantization) back into an ordinary Hugging Face folder.

    python -m training.convert ONNX_FOLDER OUT_FOLDER

Each weight is `(quantized - zero point) × scale`. The exporter drops the names of the matrices but
keeps those of the biases, so a matrix is named by the bias added to its product.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from search.errors import CheckpointError, MissingExtra
from search.models.folder import read_json

CARRIERS = {"Cast", "Mul", "Reshape", "Identity", "Transpose"}
SUFFIX = "_quantized"


def convert(source: Path, target: Path) -> int:
    """Write `target` (config, tokenizer, safetensors) from `source`; returns how many tensors."""
    weights = _dequantised(source / "model.onnx")
    if not weights:
        raise CheckpointError(f"{source / 'model.onnx'} holds no named BERT weights")
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.json").write_text(json.dumps(bert_config(weights), indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source / name, target / name)
    _save(weights, target / "model.safetensors")
    return len(weights)


def describe_encoder(folder: Path, pooling: str, query_prompt: str) -> None:
    """What makes the folder one of sentence-transformers: pooling, unit length, query prompt."""
    module = "sentence_transformers.models."
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": module + "Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": module + "Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": module + "Normalize"},
    ]
    width = read_json(folder / "config.json")["hidden_size"]
    flag = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}[pooling]
    for path, content in {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": width, flag: True},
        "config_sentence_transformers.json": {"prompts": {"query": query_prompt}},
    }.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def bert_config(weights: dict[str, Any]) -> dict[str, Any]:
    """A BERT config read off the shapes; heads are 32 wide, as in every MiniLM and bge-small."""
    vocabulary, hidden = _find(weights, "word_embeddings.weight").shape
    layers = 1 + max(int(n.split("layer.")[1].split(".")[0]) for n in weights if "layer." in n)
    ranker = "classifier.weight" in weights
    return {
        "architectures": ["BertForSequenceClassification" if ranker else "BertModel"],
        "model_type": "bert",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 32,
        "intermediate_size": _find(weights, "intermediate.dense.bias").shape[0],
        "max_position_embeddings": _find(weights, "position_embeddings.weight").shape[0],
        "type_vocab_size": _find(weights, "token_type_embeddings.weight").shape[0],
        "vocab_size": vocabulary,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    } | ({"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}} if ranker else {})


def _find(weights: dict[str, Any], ending: str) -> Any:
    """The first tensor whose name ends so (names start with `bert.` in some exports only)."""
    for name, tensor in weights.items():
        if name.endswith(ending):
            return tensor
    raise CheckpointError(f"no tensor named …{ending}: this is not the export of a BERT model")


def _dequantised(path: Path) -> dict[str, Any]:
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingExtra("onnx", "convert", "Converting an ONNX model") from error
    if not path.is_file():
        raise CheckpointError(f"no ONNX model at {path}")
    graph = onnx.load(str(path)).graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    names = _names_by_bias(graph, arrays)
    weights: dict[str, Any] = {}
    for name, array in arrays.items():
        if name.endswith(SUFFIX):
            stem = name[: -len(SUFFIX)]
            real = array.astype("float32") - arrays[stem + "_zero_point"].astype("float32")
            real *= arrays[stem + "_scale"]
            own = stem if "embeddings" in stem else names[name]
            # A product is x @ W in ONNX and x @ W.T in torch; a Gemm keeps torch's layout.
            weights[own] = real if "embeddings" in stem else real.T
        elif name.endswith((".weight", ".bias")) and array.dtype == "float32":
            weights[name] = array
    return weights


def _names_by_bias(graph: Any, arrays: dict[str, Any]) -> dict[str, str]:
    """Quantized matrix → the name of its weight, following its product down to the bias."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    names = {}
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        front = list(node.output)
        while front:
            value = front.pop()
            for reader in readers.get(value, []):
                bias = [n for n in reader.input if n in arrays and n.endswith(".bias")]
                if reader.op_type == "Add" and bias:
                    names[node.input[1]] = bias[0].removesuffix("bias") + "weight"
                elif reader.op_type in CARRIERS:
                    front.extend(reader.output)
    return names


def _save(weights: dict[str, Any], path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({n: np.ascontiguousarray(w) for n, w in weights.items()}, path, {"format": "pt"})
