"""What tuning and fitting leave behind: settings for `search`; calibration and blend of a model."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from config import Settings
from search.errors import ConfigError
from search.evaluate.tune import Tuning
from search.rerank import Blend

MARK = "# Tuned by search.evaluate"
TUNED = re.compile(rf"^({MARK}|(candidates|blend|gate|gate_tuned_for|model|retrieval)\s*:)")


def write_settings(path: Path, tuning: Tuning, settings: Settings) -> None:
    """Set what was tuned, and the model and retrieval that it was tuned for, in this YAML file.

    Its other lines stay as they are.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if not TUNED.match(line)]
        path.write_text("\n".join([*kept, *_lines(tuning, settings)]) + "\n", encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be written as settings: {error}") from None


def write_model(folder: Path, blend: Blend) -> Path:
    """Put the blend into the model's rerank.json, whole or not at all; its other entries stay."""
    path = folder / "rerank.json"
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        content["embedding"] = blend.embedding
        content["log_odds"] = [
            {"constant": formula.constant, **formula.weights} for formula in blend.formulas
        ]
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except (OSError, json.JSONDecodeError) as error:
        part.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written: {error}") from None
    return path


def _lines(tuning: Tuning, settings: Settings) -> list[str]:
    chosen, best = tuning.chosen, tuning.best
    pipeline = chosen.pipeline
    return [
        f"{MARK}: dev nDCG@10 {chosen.ndcg:.4f}, {chosen.pairs:.1f} passages a query "
        f"(best {best.ndcg:.4f} at {best.pairs:.1f}; bound {tuning.bound:g})",
        f"candidates: {pipeline.candidates}",
        f"blend: {'null' if pipeline.blend == 1 else f'{pipeline.blend:g}'}",
        f"gate: {'null' if pipeline.gate is None else f'{pipeline.gate:g}'}",
        f"gate_tuned_for: {json.dumps(f'{settings.retrieval} {settings.model}')}",
        f"retrieval: {settings.retrieval}",
        f"model: {json.dumps(settings.model, ensure_ascii=False)}",
    ]
