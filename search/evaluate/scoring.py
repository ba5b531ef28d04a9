"""The one pass: each (query, passage) is scored once, at the deepest K, and kept in a file.

Everything else (shallower K, blend weights, gates) is derived from these scores; see `derive`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from search.errors import InputError
from search.evaluate.data import Task
from search.types import Candidate, passage_input

Retrieve = Callable[[str, str], Sequence[Candidate]]
"""(query id, query) → candidates, best first, as deep as the pass needs."""

ScorePairs = Callable[[Sequence[tuple[str, str]]], Sequence[float]]
"""(query, passage) pairs → raw logits, in the same order."""

Progress = Callable[[int, int], None]
"""(queries done, queries in all)"""

PAIRS_PER_STEP = 1024  # scored together and then saved: an interrupted pass loses one step at most


@dataclass(frozen=True, slots=True)
class ScoredQuery:
    """A query's candidate passages in the first stage's order, with both stages' scores.

    `cosines`, `bm25` and `fused` are those of `Candidate`.
    """

    query_id: str
    document_ids: tuple[str, ...]
    scores: tuple[float, ...]
    cosines: tuple[float | None, ...]
    bm25: tuple[float | None, ...]
    fused: tuple[float | None, ...]
    logits: tuple[float, ...]
    milliseconds: float  # the query's share of its step's scoring time


class ScoreCache:
    """ScoredQuery queries in a JSONL file that only grows; a line cut off by a kill is ignored."""

    def __init__(self, folder: Path, identity: Mapping[str, object]) -> None:
        """`identity` names all that the scores depend on, but for the queries themselves."""
        text = json.dumps(identity, sort_keys=True, ensure_ascii=False, default=str)
        self.path = folder / f"scores-{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsonl"
        self._rows: dict[str, tuple[int, ScoredQuery]] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").split("\n"):
                self._load(line)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps({"identity": json.loads(text)}) + "\n", "utf-8")

    def get(self, key: str, depth: int) -> ScoredQuery | None:
        """The query as scored to at least this depth, cut to it; None when it is still to do."""
        stored_depth, scored = self._rows.get(key, (0, None))
        if scored is None or stored_depth < depth:
            return None
        return scored if stored_depth == depth else cut(scored, depth)

    def add(self, rows: Mapping[str, ScoredQuery], depth: int) -> None:
        """Append these (key → scored query) in one write."""
        lines = [
            json.dumps({"key": key, "depth": depth, **asdict(scored)}, ensure_ascii=False)
            for key, scored in rows.items()
        ]
        with self.path.open("a", encoding="utf-8") as file:
            # The leading newline ends whatever half line a kill has left.
            file.write("\n" + "\n".join(lines) + "\n")
        self._rows.update({key: (depth, scored) for key, scored in rows.items()})

    def _load(self, line: str) -> None:
        try:
            row = json.loads(line)
            scored = ScoredQuery(
                row["query_id"],
                tuple(row["document_ids"]),
                tuple(row["scores"]),
                tuple(row["cosines"]),
                tuple(row["bm25"]),
                tuple(row["fused"]),
                tuple(row["logits"]),
                row["milliseconds"],
            )
        except (json.JSONDecodeError, KeyError):
            return  # the identity line, an empty line, or one that a kill cut off
        self._rows[row["key"]] = (row["depth"], scored)


def run_pass(
    task: Task,
    depth: int,
    retrieve: Retrieve,
    score_pairs: ScorePairs,
    cache: ScoreCache,
    progress: Progress,
) -> list[ScoredQuery]:
    """Every query of the task with its `depth` best passages scored; takes up where it stopped."""
    if not task.queries:
        raise InputError(f"{task.name}: no judged queries to evaluate")
    keys = {query_id: _key(task, query_id, text) for query_id, text in task.queries.items()}
    missing = [query_id for query_id, key in keys.items() if cache.get(key, depth) is None]
    done = len(keys) - len(missing)
    progress(done, len(keys))
    for step in _steps(missing, task, retrieve):
        scored = _score_step(task, step, score_pairs)
        cache.add({keys[row.query_id]: row for row in scored}, depth)
        done += len(step)
        progress(done, len(keys))
    found = (cache.get(key, depth) for key in keys.values())
    return [scored for scored in found if scored is not None]


def cut(scored: ScoredQuery, k: int) -> ScoredQuery:
    """The same query with its first k candidates only."""
    share = min(1.0, k / max(1, len(scored.scores)))
    return ScoredQuery(
        scored.query_id,
        scored.document_ids[:k],
        scored.scores[:k],
        scored.cosines[:k],
        scored.bm25[:k],
        scored.fused[:k],
        scored.logits[:k],
        scored.milliseconds * share,
    )


def _key(task: Task, query_id: str, text: str) -> str:
    """Changes with the query's text and, for a judged pool, with the documents judged."""
    parts = [query_id, text, *sorted(task.pool(query_id))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _steps(
    query_ids: Sequence[str], task: Task, retrieve: Retrieve
) -> Iterator[dict[str, Sequence[Candidate]]]:
    """Retrieved queries, gathered until they hold enough pairs for one efficient scoring call."""
    step: dict[str, Sequence[Candidate]] = {}
    pairs = 0
    for query_id in query_ids:
        step[query_id] = retrieve(query_id, task.queries[query_id])
        pairs += len(step[query_id])
        if pairs >= PAIRS_PER_STEP:
            yield step
            step, pairs = {}, 0
    if step:
        yield step


def _score_step(
    task: Task, step: Mapping[str, Sequence[Candidate]], score_pairs: ScorePairs
) -> list[ScoredQuery]:
    pairs = [
        (task.queries[query_id], passage_input(c.title, c.passage))
        for query_id, candidates in step.items()
        for c in candidates
    ]
    start = time.perf_counter()
    logits = iter(score_pairs(pairs) if pairs else [])
    each = 1000 * (time.perf_counter() - start) / max(1, len(pairs))
    return [
        ScoredQuery(
            query_id,
            tuple(c.document_id for c in candidates),
            tuple(c.score for c in candidates),
            tuple(c.cosine for c in candidates),
            tuple(c.bm25 for c in candidates),
            tuple(c.fused for c in candidates),
            tuple(float(next(logits)) for _ in candidates),
            each * len(candidates),
        )
        for query_id, candidates in step.items()
    ]
