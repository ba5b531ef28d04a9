"""A model on a GPU, or of an architecture that OpenVINO's graph does not know, by torch.

The only module of the runtime that imports torch and transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from search.engine.batches import Batch
from search.engine.placement import Placement
from search.engine.run import is_out_of_memory
from search.errors import ConfigError, ModelError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
CLASSIFIER, ENCODER = "AutoModelForSequenceClassification", "AutoModel"


class TorchModel:
    """Batches go to the device one after the other, without waiting for it in between."""

    parallel = 1
    max_batch_tokens = 1 << 20

    def __init__(self, folder: Path, head: str, placement: Placement) -> None:
        self.placement = placement
        # A processor gains nothing from a larger batch, a GPU loses time to each launch.
        self.max_padding = 0.1 if placement.device == "cpu" else 0.5
        self._head = {"logits": _logits, "mean": _mean, "cls": _first}[head]
        self._model = _load(CLASSIFIER if head == "logits" else ENCODER, folder, placement)
        self._type_ids = getattr(self._model.config, "type_vocab_size", 0) > 1

    def submit(self, batch: Batch) -> Callable[[], NDArray[np.float32]]:
        """Start a batch; the result waits for it and gives its rows."""
        arguments = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if self._type_ids:
            arguments["token_type_ids"] = batch.type_ids
        device = self.placement.device
        with torch.inference_mode():
            tensors = {n: torch.from_numpy(a).long().to(device) for n, a in arguments.items()}
            output = self._head(self._model, tensors)
        return lambda: output.float().cpu().numpy()

    def release_memory(self) -> None:
        """Give back what the allocator of a GPU keeps."""
        if self.placement.kind == "cuda":
            torch.cuda.empty_cache()


def _logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """What the classification head says, before any sigmoid."""
    output: Tensor = model(**batch).logits
    return output


def _mean(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The mean over each text's own tokens, made unit length."""
    hidden = model(**batch).last_hidden_state.float()  # (texts, tokens, dimensions)
    mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    return normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def _first(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Each text's first token, made unit length."""
    return normalize(model(**batch).last_hidden_state[:, 0].float(), dim=-1)


def _load(kind: str, folder: Path, placement: Placement) -> nn.Module:
    """From safetensors only, without remote code, in eval mode. `kind` is a transformers class."""
    auto_class: Any = getattr(transformers, kind)
    try:
        with _quiet():
            model, report = auto_class.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except (ValueError, KeyError, OSError, RuntimeError, ImportError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{folder}: transformers cannot load it as {kind}: {error}") from None
    # Pooling does not use BERT's pooler, and many files leave it out.
    missing = sorted(k for k in report["missing_keys"] if kind != ENCODER or "pooler" not in k)
    if missing:
        raise ModelError(
            f"{folder}: found no weights for {', '.join(missing[:4])}"
            f"{' …' if len(missing) > 4 else ''}, which would be newly initialised, at random; "
            f"expected a checkpoint trained as {type(model).__name__}"
        )
    dtype = DTYPES[placement.precision]
    if dtype != torch.float32:
        to_half_precision(model, dtype)
    try:
        ready: nn.Module = model.eval().to(placement.device)
    except (RuntimeError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        raise ConfigError(
            f"this torch ({torch.__version__}) cannot use {placement.device} ({error}): install a "
            "build of torch for it, or set device to cpu"
        ) from None
    return ready


def to_half_precision(model: nn.Module, dtype: torch.dtype) -> None:
    """Put the matrices of the transformer's layers in `dtype`, in place; the rest stays fp32.

    Embeddings, layer norms, residual sums and the head are cheap, and carry the error that counts:
    a MiniLM reranker runs as fast as all in bf16 and is nearer to fp32 (autocast is the farthest).
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
    """No progress bar and no table of weights: what they would show is checked here."""
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
