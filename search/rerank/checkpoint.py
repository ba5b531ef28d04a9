"""Is this folder a usable reranker? Everything that can be known before the weights are loaded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from search.errors import CheckpointError, ModelError
from search.models.folder import find_folder, read_json, usable_positions, usual_length
from search.models.preflight import check_files
from search.models.registry import CURRENT, MODELS, SHIPPED, Registry
from search.models.tokens import Tokenizer
from search.models.version import Version, check_unchanged
from search.rerank.blend import INPUTS, Blend, Formula

BUNDLED = Path(__file__).with_name("bundled")
SETTINGS = "rerank.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that passed the checks.

    `positions` is the longest input in tokens, `usual_length` the longest that it was trained for;
    None where nothing is said of it.
    """

    folder: Path
    name: str
    tokenizer: Tokenizer
    positions: int | None
    usual_length: int | None
    blend: Blend
    version: Version | None = None
    """Where the model is one of the registry's, which do not change."""


class Located(NamedTuple):
    """A model's name, its weights, where its rerank.json may be, and its version if it has one."""

    name: str
    folder: Path
    home: Path
    version: Version | None = None


def locate(name: str, models: Path = MODELS) -> Located:
    """The model `name`: "bundled", a version in `models`, "current", a folder or a hub name.

    A version comes before a folder of the same name, which `./NAME` is. Raises ModelError.
    """
    registry = Registry(models)
    if name == CURRENT:
        name = registry.current
    version = None if name == SHIPPED else registry.find(name)
    if version is not None:
        check_unchanged(version)
        return Located(name, version.folder, version.home, version)
    folder = BUNDLED if name == SHIPPED else find_folder(name)
    return Located(name, folder, folder)


def open_checkpoint(name: str, models: Path = MODELS) -> Checkpoint:
    """Find the model `name`, as `locate` does, and check its files.

    Raises CheckpointError saying what was found, what was expected, and the fix.
    """
    try:
        located = locate(name, models)
        folder = located.folder
        if not folder.is_dir():
            raise CheckpointError(
                f"this installation lacks the bundled reranker (expected in {folder}): reinstall "
                "it, or set model to a folder or a hub name"
            )
        config = read_json(folder / "config.json")
        check_labels(folder, config)
        tokenizer = Tokenizer(folder)
        check_files(folder, tokenizer)
        usual = usual_length(folder)
        blend = read_blend(located.home)
    except CheckpointError:
        raise
    except ModelError as error:
        raise CheckpointError(str(error)) from None
    return Checkpoint(
        folder,
        located.name,
        tokenizer,
        usable_positions(config),
        usual,
        blend,
        located.version,
    )


def check_labels(folder: Path, config: dict[str, Any]) -> None:
    """One output: a relevance score. transformers assumes two where the config names none."""
    names = config.get("id2label")
    labels = len(names) if names else config.get("num_labels", 2)
    if labels != 1:
        raise CheckpointError(
            f"{folder}: found {labels} labels in config.json, expected 1 (a relevance score); "
            "this is a classifier or an encoder, not a reranker"
        )


def find_blend(name: str, models: Path = MODELS) -> Blend:
    """The blend of the model `name`; the plain one where it cannot be read (loading says why)."""
    try:
        return read_blend(locate(name, models).home)
    except ModelError:
        return Blend()


def find_tokenizer(name: str, models: Path = MODELS) -> Tokenizer | None:
    """The tokenizer of the model `name`; None where it cannot be read (loading says why)."""
    try:
        return Tokenizer(locate(name, models).folder)
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
    "anew with two-stage evaluate --write-model"
)
