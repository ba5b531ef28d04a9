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
from search.rerank.blend import ModelSettings

BUNDLED = Path(__file__).with_name("bundled")
SETTINGS = "rerank.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that passed the checks; `positions` is the longest input in tokens, if limited."""

    folder: Path
    name: str
    tokenizer: Tokenizer
    positions: int | None
    settings: ModelSettings


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
        settings = read_settings(folder)
    except CheckpointError:
        raise
    except ModelError as error:
        raise CheckpointError(str(error)) from None
    return Checkpoint(folder, name, tokenizer, usable_positions(config), settings)


def check_labels(folder: Path, config: dict[str, Any]) -> None:
    """One output: a relevance score. transformers assumes two where the config names none."""
    names = config.get("id2label")
    labels = len(names) if names else config.get("num_labels", 2)
    if labels != 1:
        raise CheckpointError(
            f"{folder}: found {labels} labels in config.json, expected 1 (a relevance score); "
            "this is a classifier or an encoder, not a reranker"
        )


def read_settings(folder: Path) -> ModelSettings:
    """The optional rerank.json: {"calibration": {"slope", "intercept"}, "blend": {"weight"}}."""
    path = folder / SETTINGS
    if not path.is_file():
        return ModelSettings()
    content = read_json(path)
    calibration, blend = content.get("calibration", {}), content.get("blend", {})
    try:
        settings = ModelSettings(
            slope=float(calibration.get("slope", 1)),
            intercept=float(calibration.get("intercept", 0)),
            blend_weight=float(blend.get("weight", 0)),
        )
    except (AttributeError, TypeError, ValueError):
        raise CheckpointError(f"{path}: {_EXPECTED}; found {json.dumps(content)}") from None
    numbers = (settings.slope, settings.intercept, settings.blend_weight)
    if not all(map(math.isfinite, numbers)) or settings.slope <= 0 or settings.blend_weight < 0:
        raise CheckpointError(f"{path}: {_EXPECTED}; found {settings}")
    return settings


_EXPECTED = "expected finite numbers, a slope above 0 and a blend weight of at least 0"
