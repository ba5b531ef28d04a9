"""Weights from a folder into a model that is ready to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from search.errors import ModelError
from search.nn.device import Placement


def load_model(kind: str, folder: Path, placement: Placement) -> nn.Module:
    """`kind` is a transformers Auto class: "AutoModel" or "AutoModelForSequenceClassification".

    From safetensors only, without remote code, in eval mode. Raises ModelError.
    """
    auto_class: Any = getattr(transformers, kind)
    try:
        with _quiet():
            model: nn.Module = auto_class.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
            )
    except (ValueError, KeyError, OSError) as error:
        raise ModelError(f"{folder}: transformers cannot load it: {error}") from None
    if placement.dtype != torch.float32:
        halve(model, placement.dtype)
    return model.eval().to(placement.device)


def halve(model: nn.Module, dtype: torch.dtype) -> None:
    """Put the matrices of the transformer's layers in `dtype`; the rest stays fp32.

    Embeddings, layer norms, residual sums and the head are cheap, and carry the error that counts:
    on a MiniLM reranker this runs as fast as all in bf16 and is nearer to fp32.
    """
    base = getattr(model, "base_model", model)
    for name, module in list(base.named_modules()):
        for child_name, child in list(module.named_children()):
            if type(child) is nn.Linear and "pooler" not in name:
                setattr(module, child_name, HalfLinear(child, dtype))


class HalfLinear(nn.Module):
    """A linear layer in half precision that takes input in any."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().to(dtype), requires_grad=False)
        bias = linear.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype), False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.to(self.weight.dtype), self.weight, self.bias)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no table of weights: what is wrong with a folder is checked before."""
    log: Any = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
