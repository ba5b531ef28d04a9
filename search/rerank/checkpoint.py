"""Is this folder a usable reranker? Everything that can be known before the weights are loaded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.errors import CheckpointError, ModelError
from search.models.folder import find_folder, read_json, usable_positions
from search.models.preflight import check_files
from search.models.tokens import Tokenizer
from search.rerank.blend import INPUTS, Blend, Formula

BUNDLED = Path(__file__).with_name("bundled")
SETTINGS = "rerank.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that passed the checks; `positions` is the longest input in tokens, if limited."""

    folder: Path
    name: str
    tokenizer: Tokenizer
    positions: int | None
    blend: Blend


def open_checkpoint(name: str) -> Checkpoint:
    """Find the model `name` ("bundled", a folder or a hub name) and check its files.

    Raises CheckpointError saying what was found, what was expected, and the fix.
    """
    try:
        folder = BUNDLED if name == "bundled" else find_folder(name)
        if not folder.is_dir():
            raise CheckpointError(
                f"this installation lacks the bundled reranker (expected in {folder}): reinstall "
                "it, or set model to a folder or a hub name"
            )
        config = read_json(folder / "config.json")
        check_labels(folder, config)
        tokenizer = Tokenizer(folder)
        check_files(folder, tokenizer)
        blend = read_blend(folder)
    except CheckpointError:
        raise
    except ModelError as error:
        raise CheckpointError(str(error)) from None
    return Checkpoint(folder, name, tokenizer, usable_positions(config), blend)


def check_labels(folder: Path, config: dict[str, Any]) -> None:
    """One output: a relevance score. transformers assumes two where the config names none."""
    names = config.get("id2label")
    labels = len(names) if names else config.get("num_labels", 2)
    if labels != 1:
        raise CheckpointError(
            f"{folder}: found {labels} labels in config.json, expected 1 (a relevance score); "
            "this is a classifier or an encoder, not a reranker"
        )


def find_blend(name: str) -> Blend:
    """The blend of the model `name`; the plain one where it cannot be read (loading says why)."""
    try:
        return read_blend(BUNDLED if name == "bundled" else find_folder(name))
    except ModelError:
        return Blend()


def find_tokenizer(name: str) -> Tokenizer | None:
    """The tokenizer of the model `name`; None where it cannot be read (loading says why)."""
    try:
        return Tokenizer(BUNDLED if name == "bundled" else find_folder(name))
    except ModelError:
        return None


def read_blend(folder: Path) -> Blend:
    """The optional rerank.json, which `search.evaluate --write-model` writes; see `Blend`."""
    path = folder / SETTINGS
    if not path.is_file():
        return Blend()
    content = read_json(path)
    try:
        formulas = tuple(_formula(entry) for entry in content["log_odds"])
        embedding = content.get("embedding")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {_EXPECTED}; found {error!r} in it") from None
    if not any(formula.weights.keys() == {"logit"} for formula in formulas):
        raise CheckpointError(f"{path}: {_EXPECTED}; found none of the logit alone")
    return Blend(formulas, None if embedding is None else str(embedding))


def _formula(entry: dict[str, Any]) -> Formula:
    """Raises ValueError for a number out of bounds or a name that is not one of INPUTS."""
    weights = {name: float(value) for name, value in entry.items() if name != "constant"}
    constant = float(entry.get("constant", 0))
    wrong = [n for n, w in weights.items() if n not in INPUTS or not 0 <= w < math.inf]
    if wrong or not weights or not math.isfinite(constant):
        raise ValueError(f"unusable: {json.dumps(entry)}")
    return Formula(constant, weights)


_EXPECTED = (
    'expected {"log_odds": [{"constant": number, "logit": weight of at least 0, …}, …]}, with one '
    f"formula of the logit alone, of the inputs {', '.join(INPUTS)}: delete it, and fit it "
    "anew with python -m search.evaluate --write-model"
)
