"""ModernBERT as an OpenVINO graph: rotary positions, attention to neighbours alone in most layers,
gated activations, layer norms before each part, and hardly a bias.

Warner et al. 2024, arxiv.org/abs/2412.13663; the names of the tensors are those of transformers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from search.engine.graph import Graph, first_of, ints, masked, mean_of, op, ov
from search.engine.placement import ACTIVATIONS
from search.models.weights import Weights

WORDS = "embeddings.tok_embeddings.weight"
EPSILON = 1e-5
ROTARY_BASES = {
    "full_attention": ("global_rope_theta", 160_000.0),
    "sliding_attention": ("local_rope_theta", 10_000.0),
}
"""Where config.json has it, in the form of before layers had types, and what it is without."""


class _Kind(NamedTuple):
    """What the layers of one kind share."""

    mask: ov.Node  # (sequences, 1, tokens or 1, tokens)
    cosines: ov.Node  # (tokens, width of a head)
    sines: ov.Node


class ModernBertGraph(Graph):
    """gte-modernbert, Ettin, and others of the kind."""

    def __init__(self, config: dict[str, Any], weights: Weights) -> None:
        super().__init__({"layer_norm_eps": config.get("norm_eps", EPSILON)} | config, weights)
        if self._prefix + WORDS not in weights:
            self._prefix = ""
        self.words = self._prefix + WORDS
        self._norm_bias = bool(config.get("norm_bias", False))
        self._attention_bias = bool(config.get("attention_bias", False))
        self._inner_bias = bool(config.get("mlp_bias", False))

    def _encode(
        self, embedded: ov.Node, type_ids: ov.Node, order: ov.Node, own: ov.Node
    ) -> ov.Node:
        kinds = self._kinds(order, own)
        hidden = self._norm(f"{self._prefix}embeddings.norm", embedded, self._norm_bias)
        for layer, kind in enumerate(layer_kinds(self._config)):
            name = f"{self._prefix}layers.{layer}."
            # The first layer's input has just been normed.
            normal = self._norm(f"{name}attn_norm", hidden, self._norm_bias) if layer else hidden
            hidden = op.add(hidden, self._attention(f"{name}attn.", normal, kinds[kind]))
            normal = self._norm(f"{name}mlp_norm", hidden, self._norm_bias)
            hidden = op.add(hidden, self._gated(f"{name}mlp.", normal))
        return self._norm(f"{self._prefix}final_norm", hidden, self._norm_bias)

    def _logits(self, hidden: ov.Node, own: ov.Node) -> ov.Node:
        mean = self._config.get("classifier_pooling", "cls") == "mean"
        pooled = mean_of(hidden, own) if mean else first_of(hidden)
        dense = self._linear("head.dense", pooled, bool(self._config.get("classifier_bias", False)))
        activation = ACTIVATIONS[self._config.get("classifier_activation", "gelu")]
        return self._linear(
            "classifier",
            self._norm("head.norm", self._activate(dense, activation), self._norm_bias),
        )

    def _kinds(self, order: ov.Node, own: ov.Node) -> dict[str, _Kind]:
        own = op.unsqueeze(own, ints([1, 2]))  # (sequences, 1, 1, tokens)
        distance = op.abs(op.subtract(op.unsqueeze(order, ints(1)), op.unsqueeze(order, ints(0))))
        reach = int(self._config.get("local_attention", 128)) // 2
        near = op.unsqueeze(op.less_equal(distance, ints(reach)), ints([0, 1]))
        seen = {"full_attention": own, "sliding_attention": op.logical_and(own, near)}
        return {
            kind: _Kind(
                masked(seen[kind]), *self._rotations(rotary_base(self._config, kind), order)
            )
            for kind in seen
        }

    def _rotations(self, base: float, order: ov.Node) -> tuple[ov.Node, ov.Node]:
        """Tables, not sines of the graph: in bf16 a position beyond 256 would be another."""
        width = self._width // self._heads
        positions = np.arange(int(self._config.get("max_position_embeddings", 8192)))
        frequencies = 1 / base ** (np.arange(0, width, 2, dtype=np.float32) / width)
        angles = np.outer(positions.astype(np.float32), np.tile(frequencies, 2))
        return tuple(
            op.gather(op.constant(f(angles).astype(np.float32)), order, ints(0))
            for f in (np.cos, np.sin)
        )

    def _attention(self, name: str, normal: ov.Node, kind: _Kind) -> ov.Node:
        joined = self._linear(f"{name}Wqkv", normal, self._attention_bias)
        query, key, value = map(self._split, op.split(joined, ints(2), 3).outputs())
        seen = self._attend(_rotated(query, kind), _rotated(key, kind), value, kind.mask)
        return self._linear(f"{name}Wo", seen, self._attention_bias)

    def _gated(self, name: str, normal: ov.Node) -> ov.Node:
        joined = self._linear(f"{name}Wi", normal, self._inner_bias)
        inner, gate = op.split(joined, ints(2), 2).outputs()
        return self._linear(f"{name}Wo", op.multiply(self._activate(inner), gate), self._inner_bias)


def _rotated(x: ov.Node, kind: _Kind) -> ov.Node:
    """Each pair (i, i + width / 2) turned by its position's angle."""
    left, right = op.split(x, ints(3), 2).outputs()
    turned = op.concat([op.negative(right), left], 3)
    return op.add(op.multiply(x, kind.cosines), op.multiply(turned, kind.sines))


def layer_kinds(config: dict[str, Any]) -> list[str]:
    """The kind of each layer, as the two forms of config.json say it."""
    every = int(config.get("global_attn_every_n_layers", 3))
    return config.get("layer_types") or [
        "sliding_attention" if layer % every else "full_attention"
        for layer in range(int(config["num_hidden_layers"]))
    ]


def rotary_base(config: dict[str, Any], kind: str) -> float:
    """How slowly the slowest rotation of these layers turns."""
    name, usual = ROTARY_BASES[kind]
    rotation = (config.get("rope_parameters") or {}).get(kind) or {}
    return float(rotation.get("rope_theta", config.get(name, usual)))
