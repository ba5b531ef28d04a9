"""The two kinds of model, from a folder: an encoder that pools, a classifier that gives a logit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import normalize

from search.errors import ModelError
from search.nn.device import Placement, place
from search.nn.folder import read_json
from search.nn.precision import to_half_precision
from search.nn.runner import Head, Runner, is_out_of_memory


def open_encoder(
    folder: Path, pooling: str, device: str, precision: str, batch_tokens: int
) -> Runner:
    """Gives unit vectors, (texts, dimensions); `pooling` is "mean" or "cls". Raises ModelError."""
    head = {"mean": mean_pool, "cls": cls_pool}[pooling]
    return _open("AutoModel", head, folder, device, precision, batch_tokens)


def open_classifier(folder: Path, device: str, precision: str, batch_tokens: int) -> Runner:
    """Gives logits, (pairs, labels). Raises ModelError, also when the head is not in the file."""
    return _open(
        "AutoModelForSequenceClassification", logits, folder, device, precision, batch_tokens
    )


def mean_pool(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The mean over each text's own tokens, made unit length."""
    hidden = model(**batch).last_hidden_state.float()  # (texts, tokens, dimensions)
    mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    return normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def cls_pool(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Each text's first token, made unit length."""
    return normalize(model(**batch).last_hidden_state[:, 0].float(), dim=-1)


def logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """What the classification head says, before any sigmoid."""
    output: Tensor = model(**batch).logits
    return output


def _open(
    kind: str, head: Head, folder: Path, device: str, precision: str, batch_tokens: int
) -> Runner:
    config = read_json(folder / "config.json")
    pad_id = config.get("pad_token_id")
    return Runner(
        load=partial(_load, kind, folder),
        head=head,
        placement=place(device, precision),
        budget=batch_tokens,
        pad_id=pad_id if isinstance(pad_id, int) else 0,
        type_ids=config.get("type_vocab_size", 0) > 1,
    )


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
    # Our encoders do not use BERT's pooler, and many files leave it out.
    missing = sorted(k for k in report["missing_keys"] if kind != "AutoModel" or "pooler" not in k)
    if missing:
        raise ModelError(
            f"{folder}: found no weights for {', '.join(missing[:4])}"
            f"{' …' if len(missing) > 4 else ''}, which would be newly initialised, at random; "
            f"expected a checkpoint trained as {type(model).__name__}"
        )
    if placement.dtype != torch.float32:
        to_half_precision(model, placement.dtype)
    ready: nn.Module = model.eval().to(placement.device)
    return ready


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
