"""Reports as JSON for programs, and runs as TREC files for other tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from search.evaluate.metrics import Run
from search.evaluate.work import Outcome


def as_json(outcome: Outcome, model: Mapping[str, object]) -> dict[str, Any]:
    """Everything the tables show and more; the keys are part of the public interface."""
    return {
        "model": dict(model),
        "tasks": {name: asdict(report) for name, report in outcome.reports.items()},
        "tuning": asdict(outcome.tuning) if outcome.tuning else None,
        "calibration": {name: asdict(c) for name, c in outcome.calibrations.items()},
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """UTF-8, indented, ending in a newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def write_runs(folder: Path, task: str, runs: Mapping[str, Run]) -> list[Path]:
    """One TREC run file for each stage, `task.stage.run`, with strictly decreasing scores."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for stage, run in runs.items():
        path = folder / f"{task}.{stage}.run"
        lines = [
            f"{query_id} Q0 {document_id} {rank} {len(ranking) - rank + 1} {stage}\n"
            for query_id, ranking in run.items()
            for rank, document_id in enumerate(ranking, start=1)
        ]
        path.write_text("".join(lines), encoding="utf-8")
        paths.append(path)
    return paths
