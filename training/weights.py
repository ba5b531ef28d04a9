"""The model being trained: fp32 master weights, a bf16 copy that computes, a running average."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from search.errors import CheckpointError
from search.models.folder import weight_files
from search.models.weights import Weights


def load_ranker(
    folder: Path, keep_layers: tuple[int, ...] = (), merge: Path | None = None
) -> nn.Module:
    """A one-label classifier without dropout, fp32; a start without a head gets a new one.

    `keep_layers` makes a shallower model from these layers of the folder's (counted from 0).
    `merge` is a model of the resulting shape: every weight that both have becomes their mean.
    That is of use only for two descendants of one pretrained model (Wortsman et al., ICML 2022).
    """
    # A start without a head is no fault here, and the table that says so is noise.
    log: Any = transformers_logging
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model: nn.Module = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            # Eager attention trains twice as fast as sdpa on a CPU, and dropout costs a third.
            attn_implementation="eager",
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: cannot be loaded as a start: {error}") from None
    if keep_layers:
        _prune(model, keep_layers, config.num_hidden_layers)
    if merge is not None:
        _merge(model, merge)
    return model


def _prune(model: nn.Module, keep: tuple[int, ...], depth: int) -> None:
    if min(keep) < 0 or max(keep) >= depth:
        raise CheckpointError(f"--keep-layers {keep}: the start has layers 0 to {depth - 1}")
    base: Any = model.base_model
    base.encoder.layer = nn.ModuleList(base.encoder.layer[i] for i in keep)
    config: Any = model.config
    config.num_hidden_layers = len(keep)


@torch.no_grad()
def _merge(model: Any, folder: Path) -> None:
    other: Any = load_ranker(folder)
    ours, theirs = model.base_model.state_dict(), other.base_model.state_dict()
    shared = [name for name in ours if name in theirs and not name.startswith("pooler.")]
    unlike = [name for name in shared if ours[name].shape != theirs[name].shape]
    if unlike or model.config.num_hidden_layers != other.config.num_hidden_layers:
        raise CheckpointError(
            f"--merge {folder}: {other.config.num_hidden_layers} layers of width "
            f"{other.config.hidden_size}; expected the start's shape, "
            f"{model.config.num_hidden_layers} of {model.config.hidden_size}, and its vocabulary"
        )
    for name in shared:
        ours[name].lerp_(theirs[name], 0.5)


def has_head(folder: Path) -> bool:
    """Whether this checkpoint's weights hold a classifier: it scores pairs already."""
    return any(name.startswith("classifier.") for name in Weights(weight_files(folder)))


def freeze(model: Any, layers: int) -> None:
    """Take no gradients for the embeddings and the first `layers` layers.

    The upper layers learn a task; moving the lower ones mostly moves them away from what they know
    of all other texts (Lee et al., 1911.03090: training the last quarter of the layers alone gives
    nine tenths of the gain).
    """
    model.base_model.embeddings.requires_grad_(False)
    model.base_model.encoder.layer[:layers].requires_grad_(False)


class Trainee:
    """Adam on fp32 weights, gradients from a copy in `dtype`: half-precision steps round off."""

    def __init__(self, model: nn.Module, dtype: torch.dtype, average: float) -> None:
        self.master = model
        self.compute: Any = load_copy(model).to(dtype).train()
        for ours, copy in zip(model.parameters(), self.compute.parameters(), strict=True):
            copy.requires_grad_(ours.requires_grad)
        self._average = average
        self._ema = [p.detach().clone() for p in model.parameters()]
        self._updates = 0
        trained = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in trained if p.ndim > 1]
        vectors = [p for p in trained if p.ndim < 2]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": 0.01},
            {"params": vectors},
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=0.0, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.0, fused=True
        )

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the master weights by the copy's clipped gradients (norm 1), and renew the copy."""
        pairs = list(zip(self.master.parameters(), self.compute.parameters(), strict=True))
        for master, copy in pairs:
            master.grad = None if copy.grad is None else copy.grad.float()
            copy.grad = None
        nn.utils.clip_grad_norm_(self.master.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self._updates += 1
        # Young averages forget faster, or the start would weigh on them for long.
        decay = min(self._average, self._updates / (self._updates + 10))
        for (master, copy), mean in zip(pairs, self._ema, strict=True):
            copy.copy_(master)
            mean.lerp_(master, 1 - decay)

    def averaged(self) -> nn.Module:
        """A copy with the running average of the weights, fp32."""
        model: nn.Module = load_copy(self.master)
        with torch.no_grad():
            for parameter, mean in zip(model.parameters(), self._ema, strict=True):
                parameter.copy_(mean)
        return model

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs, for `torch.save`."""
        return {
            "master": self.master.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self._ema,
            "updates": self._updates,
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """The reverse of `state`."""
        self.master.load_state_dict(state["master"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._ema, self._updates = state["average"], state["updates"]
        for master, copy in zip(self.master.parameters(), self.compute.parameters(), strict=True):
            copy.copy_(master)


def load_copy(model: Any) -> Any:
    """A new model of the same class, configuration and weights."""
    copy = type(model)(model.config)
    copy.load_state_dict(model.state_dict())
    return copy
