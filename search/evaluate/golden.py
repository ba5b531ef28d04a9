"""Golden pairs: query / better / worse, which any model must order rightly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from search.errors import InputError
from search.rerank import CrossEncoder

FIELDS = ("query", "better", "worse")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two passages of which the first answers the query better."""

    line: int
    query: str
    better: str
    worse: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A pair with the raw logit of each passage; equal logits are not an order."""

    pair: Pair
    better: float
    worse: float

    @property
    def right(self) -> bool:
        return self.better > self.worse


def read(path: Path) -> list[Pair]:
    """JSONL lines {"query", "better", "worse"}; InputError names file and line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as golden pairs: {error}") from None
    pairs = [_pair(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]
    if not pairs:
        raise InputError(f'{path}: no golden pairs; expected lines {{"query", "better", "worse"}}')
    return pairs


def judge(pairs: list[Pair], model: CrossEncoder) -> list[Verdict]:
    """Score both passages of every pair, in one call."""
    texts = [(p.query, text) for p in pairs for text in (p.better, p.worse)]
    logits = [scored.logit for scored in model.score_pairs(texts)]
    return [Verdict(p, logits[2 * i], logits[2 * i + 1]) for i, p in enumerate(pairs)]


def _pair(line: str, number: int, path: Path) -> Pair:
    try:
        record = json.loads(line)
        query, better, worse = (record[field] for field in FIELDS)
    except (json.JSONDecodeError, KeyError, TypeError):
        raise InputError(
            f'{path}:{number}: expected {{"query", "better", "worse"}}, found {line[:60]!r}'
        ) from None
    if not all(isinstance(text, str) and text.strip() for text in (query, better, worse)):
        raise InputError(f"{path}:{number}: query, better and worse must be texts, not empty")
    return Pair(number, query, better, worse)
