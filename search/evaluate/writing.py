"""What tuning and fitting leave behind: settings for `search`; calibration and blend of a model."""

from __future__ import annotations

import json
import re
from pathlib import Path

from search.errors import ConfigError
from search.evaluate.tune import Tuning
from search.rerank import ModelSettings

MARK = "# Tuned by search.evaluate"
TUNED = re.compile(rf"^({MARK}|(candidates|blend|gate)\s*:)")


def write_settings(path: Path, tuning: Tuning, blend_in_model: bool) -> None:
    """Set candidates, blend and gate in this YAML file; its other lines stay as they are.

    `blend_in_model`: the weight goes into the model's folder, so the settings point to it (null).
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if not TUNED.match(line)]
        path.write_text(
            "\n".join([*kept, *_lines(tuning, blend_in_model)]) + "\n", encoding="utf-8"
        )
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be written as settings: {error}") from None


def write_model(folder: Path, model: ModelSettings) -> Path:
    """Put calibration and blend weight into the model's rerank.json; its other entries stay."""
    path = folder / "rerank.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        content["calibration"] = {"slope": model.slope, "intercept": model.intercept}
        content["blend"] = {"weight": model.blend_weight}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: cannot be written: {error}") from None
    return path


def _lines(tuning: Tuning, blend_in_model: bool) -> list[str]:
    chosen, best = tuning.chosen, tuning.best
    pipeline = chosen.pipeline
    return [
        f"{MARK}: dev nDCG@10 {chosen.ndcg:.4f}, {chosen.pairs:.1f} passages a query "
        f"(best {best.ndcg:.4f} at {best.pairs:.1f}; bound {tuning.bound:g})",
        f"candidates: {pipeline.candidates}",
        f"blend: {'null' if blend_in_model else f'{pipeline.blend:g}'}",
        f"gate: {'null' if pipeline.gate is None else f'{pipeline.gate:g}'}",
    ]
