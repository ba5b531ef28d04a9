"""Encoders as OpenVINO graphs, built from the names and shapes of their tensors.

Here is what all share, and BERT with RoBERTa and XLM-R; ModernBERT is in `modernbert`.

Of the word embeddings only the rows needed are read, outside of the graph: XLM-R's table is nearly
half of its weights.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.engine.placement import ACTIVATIONS, PREFIXES, activation_of
from search.errors import ModelError
from search.models.weights import Weights

# openvino's __init__ imports its model converter, which reports the import to its maker over the
# network and doubles the time that importing takes. A name that is None cannot be imported, and
# openvino goes on without it.
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
import openvino as ov  # noqa: E402
from openvino import opset13 as op  # noqa: E402

if sys.modules["openvino.tools.ovc"] is None:
    del sys.modules["openvino.tools.ovc"]

__all__ = ["BertGraph", "Graph", "op", "ov"]
WORDS = "embeddings.word_embeddings.weight"
# An attention score this low is a weight of 0, also in bf16.
MASKED = np.float32(np.finfo(np.float32).min / 2)


class Graph(ABC):
    """Builds one model; `words` names the tensor whose rows are the graph's input `embedded`."""

    words: str

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        self._config = config
        self._weights = weights
        self._kind = str(config["model_type"])
        self._layers = int(config["num_hidden_layers"])
        self._heads = int(config["num_attention_heads"])
        self._width = int(config["hidden_size"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._activation = ACTIVATIONS[activation_of(config)]
        self._prefix = PREFIXES[self._kind]

    def build(self, head: str) -> ov.Model:
        """Inputs: embedded (sequences, tokens, width), type_ids (sequences, tokens), lengths."""
        embedded = _input("embedded", [-1, -1, self._width], ov.Type.f32)
        type_ids = _input("type_ids", [-1, -1], ov.Type.i32)
        lengths = _input("lengths", [-1], ov.Type.i32)
        tokens = op.gather(op.shape_of(type_ids, "i32"), ints(1), ints(0))
        order = op.range(ints(0), tokens, ints(1), "i32")  # (tokens,)
        own = op.less(op.unsqueeze(order, ints(0)), op.unsqueeze(lengths, ints(1)))
        hidden = self._encode(embedded, type_ids, order, own)
        rows = self._logits(hidden, own) if head == "logits" else _pooled(hidden, own, head)
        return ov.Model([rows], [embedded, type_ids, lengths], "encoder")

    @abstractmethod
    def _encode(
        self, embedded: ov.Node, type_ids: ov.Node, order: ov.Node, own: ov.Node
    ) -> ov.Node:
        """The last layer (sequences, tokens, width); `own` (sequences, tokens): not padding."""

    @abstractmethod
    def _logits(self, hidden: ov.Node, own: ov.Node) -> ov.Node:
        """(sequences, labels)"""

    def _attend(self, query: ov.Node, key: ov.Node, value: ov.Node, mask: ov.Node) -> ov.Node:
        """Of (sequences, heads, tokens, width of one) each, (sequences, tokens, width)."""
        seen = op.scaled_dot_product_attention(query, key, value, mask)
        return op.reshape(op.transpose(seen, ints([0, 2, 1, 3])), ints([0, 0, self._width]), True)

    def _split(self, hidden: ov.Node) -> ov.Node:
        """(sequences, tokens, width) to (sequences, heads, tokens, width of one)."""
        shape = ints([0, 0, self._heads, self._width // self._heads])
        return op.transpose(op.reshape(hidden, shape, True), ints([0, 2, 1, 3]))

    def _linear(self, name: str, x: ov.Node, bias: bool = True) -> ov.Node:
        """x · weightᵀ + bias"""
        product = op.matmul(x, self._tensor(f"{name}.weight"), False, True)
        return op.add(product, self._tensor(f"{name}.bias")) if bias else product

    def _activate(self, x: ov.Node, name: str = "") -> ov.Node:
        name = name or self._activation
        return op.relu(x) if name == "relu" else op.gelu(x, name)

    def _norm(self, name: str, x: ov.Node, bias: bool = True) -> ov.Node:
        normal = op.mvn(x, ints([-1]), True, self._epsilon, "inside_sqrt")
        scaled = op.multiply(normal, self._tensor(f"{name}.weight", f"{name}.gamma"))
        return op.add(scaled, self._tensor(f"{name}.bias", f"{name}.beta")) if bias else scaled

    def _tensor(self, name: str, old_name: str = "") -> ov.Node:
        """A constant over the file's own memory; fp16 is widened while the graph is compiled."""
        found = name if name in self._weights or not old_name else old_name
        if found not in self._weights:
            raise ModelError(
                f"found no weights for {name}, which would have to be made up at random; "
                f"expected a checkpoint trained as this kind of model ({self._kind})"
            )
        return _constant(self._weights.stored(found))


class BertGraph(Graph):
    """BERT, RoBERTa and XLM-R."""

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        super().__init__(config, weights)
        # RoBERTa kinds leave the first positions to padding.
        self._first_position = 0 if self._kind == "bert" else int(config.get("pad_token_id", 1)) + 1
        if self._prefix + WORDS not in weights:
            self._prefix = ""
        self.words = self._prefix + WORDS

    def _encode(
        self, embedded: ov.Node, type_ids: ov.Node, order: ov.Node, own: ov.Node
    ) -> ov.Node:
        mask = masked(op.unsqueeze(own, ints([1, 2])))  # (sequences, 1, 1, tokens)
        hidden = self._embeddings(embedded, type_ids, order)
        for layer in range(self._layers):
            hidden = self._layer(f"{self._prefix}encoder.layer.{layer}.", hidden, mask)
        return hidden

    def _embeddings(self, embedded: ov.Node, type_ids: ov.Node, order: ov.Node) -> ov.Node:
        name = f"{self._prefix}embeddings."
        positions = op.gather(
            self._tensor(f"{name}position_embeddings.weight"),
            op.add(order, ints(self._first_position)),
            ints(0),
        )
        types = self._tensor(f"{name}token_type_embeddings.weight")
        kinds = self._weights.shape(f"{name}token_type_embeddings.weight")[0]
        # With one kind of token the ids say nothing, and may be out of range.
        chosen = op.gather(types, type_ids if kinds > 1 else ints([[0]]), ints(0))
        return self._norm(f"{name}LayerNorm", op.add(op.add(embedded, positions), chosen))

    def _layer(self, name: str, hidden: ov.Node, mask: ov.Node) -> ov.Node:
        query, key, value = (
            self._split(self._linear(f"{name}attention.self.{part}", hidden))
            for part in ("query", "key", "value")
        )
        seen = self._attend(query, key, value, mask)
        seen = self._linear(f"{name}attention.output.dense", seen)
        hidden = self._norm(f"{name}attention.output.LayerNorm", op.add(hidden, seen))
        inner = self._activate(self._linear(f"{name}intermediate.dense", hidden))
        inner = self._linear(f"{name}output.dense", inner)
        return self._norm(f"{name}output.LayerNorm", op.add(hidden, inner))

    def _logits(self, hidden: ov.Node, own: ov.Node) -> ov.Node:
        first = first_of(hidden)
        dense, last = "classifier.dense", "classifier.out_proj"
        if self._kind == "bert":
            dense, last = f"{self._prefix}pooler.dense", "classifier"
        return self._linear(last, op.tanh(self._linear(dense, first)))


def _constant(values: NDArray[Any]) -> ov.Node:
    constant = op.constant(values, shared_memory=values.flags.aligned)
    return constant if values.dtype == np.float32 else op.convert(constant, "f32")


def _pooled(hidden: ov.Node, own: ov.Node, head: str) -> ov.Node:
    """(sequences, width) of length 1: the mean of each text's own tokens, or its first token."""
    pooled = mean_of(hidden, own) if head == "mean" else first_of(hidden)
    return op.normalize_l2(pooled, ints([1]), 1e-12, "max")


def first_of(hidden: ov.Node) -> ov.Node:
    """(sequences, width): each text's first token."""
    return op.gather(hidden, ints(0), ints(1))


def mean_of(hidden: ov.Node, own: ov.Node) -> ov.Node:
    """(sequences, width): the mean of each text's own tokens."""
    mask = op.unsqueeze(op.convert(own, "f32"), ints(-1))  # (sequences, tokens, 1)
    total = op.reduce_sum(op.multiply(hidden, mask), ints([1]))
    return op.divide(total, op.reduce_sum(mask, ints([1])))


def masked(seen: ov.Node) -> ov.Node:
    """What is added to attention scores: nothing where `seen`, else enough to end them."""
    return op.select(seen, op.constant(np.float32(0)), op.constant(MASKED))


def _input(name: str, shape: list[int], kind: ov.Type) -> ov.Node:
    parameter = op.parameter(shape, kind, name=name)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def ints(values: int | list[int] | list[list[int]]) -> ov.Node:
    return op.constant(np.array(values, np.int32))
