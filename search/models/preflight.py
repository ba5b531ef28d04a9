"""Do the files of a model's folder belong together? Known before the weights are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search.errors import ModelError
from search.models.folder import WEIGHTS, read_json, weight_files
from search.models.remembered import remember
from search.models.tokens import Tokenizer
from search.models.weights import Weights

WORD_TABLES = ("word_embeddings.weight", "tok_embeddings.weight", "embed_tokens.weight")
POSITION_TABLES = ("position_embeddings.weight",)


def check_files(folder: Path, tokenizer: Tokenizer) -> None:
    """Raise ModelError for weights that are missing, damaged, or of another model.

    What passed is remembered until a file changes.
    """
    files = weight_files(folder)
    if not files:
        raise ModelError(_no_weights(folder))

    def check() -> str:
        weights = Weights(files)
        config = read_json(folder / "config.json")
        check_vocabulary(folder, config, weights, tokenizer)
        check_positions(folder, config, weights)
        return "passed"

    remember("preflight", [*files, folder / "config.json", folder / "tokenizer.json"], check)


def check_vocabulary(
    folder: Path, config: dict[str, Any], weights: Weights, tokenizer: Tokenizer
) -> None:
    """Every token id has a row in the embedding table, which may be padded beyond that."""
    rows = weights.rows_named(*WORD_TABLES) or config.get("vocab_size")
    if rows is None:
        return
    if config.get("vocab_size", rows) != rows:
        raise ModelError(
            f"{folder}: config.json says vocab_size {config['vocab_size']}, but the weights have "
            f"{rows} token embeddings: the two belong to different models"
        )
    if tokenizer.vocabulary_size > rows:
        raise ModelError(
            f"{folder}: the tokenizer has {tokenizer.vocabulary_size} tokens, the weights only "
            f"{rows} embeddings: the two belong to different models"
        )


def check_positions(folder: Path, config: dict[str, Any], weights: Weights) -> None:
    """Every position that the config allows has a row in the table."""
    rows, named = weights.rows_named(*POSITION_TABLES), config.get("max_position_embeddings")
    if rows is not None and isinstance(named, int) and named > rows:
        raise ModelError(
            f"{folder}: config.json says max_position_embeddings {named}, but the weights have "
            f"{rows} positions: the two belong to different models"
        )


def _no_weights(folder: Path) -> str:
    """A pickle (.bin) could run code when it is loaded, and is refused."""
    others = sorted(path.name for pattern in ("*.bin", "*.pt") for path in folder.glob(pattern))
    if not others:
        return f"{folder}: found no weights; expected {WEIGHTS}"
    return (
        f"{folder}: found only {', '.join(others)}; expected {WEIGHTS}. Convert them with "
        "model.save_pretrained(FOLDER), which writes safetensors"
    )
