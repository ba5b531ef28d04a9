"""What leaving passages unread saves and costs: nDCG@10 over passages read, of 50 candidates.

    python -m search.evaluate SET --split dev --set candidates=50 --cache CACHE   # for each set
    python tests/benchmarks/early_stop.py CACHE NAME=QRELS.tsv … --plot docs/early-stop.png

NAME is the folder in CACHE. Every passage was scored by that pass, and each way of reading is
derived from it: no time is measured.
"""
# ruff: noqa: T201  (what it prints is the report)

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from search.evaluate.data import Qrels, read_qrels
from search.evaluate.metrics import MAIN, Metrics
from search.order import is_settled, log_odds_of, most_likely_first
from search.rerank import Blend, Scored
from search.rerank.checkpoint import open_checkpoint
from search.stages import FIRST_READ, NEXT_READ
from search.types import Candidate

mpl.use("agg")
from matplotlib import pyplot as plt

DEPTH, LIMIT = 50, 10
FIRST = (10, 14, FIRST_READ, 26, 34, 42)

Read = Callable[[Sequence[Candidate], Sequence[Scored], Blend], Sequence[Candidate]]
"""Which of the candidates are read; their results stand in the same order."""


class Pass:
    """One set's candidates with their logits, as `evaluate` kept them."""

    def __init__(self, folder: Path, qrels: Qrels) -> None:
        files = folder.glob("scores-*.jsonl")
        lines = [line for path in files for line in path.read_text("utf-8").split("\n") if line]
        rows = [row for row in map(json.loads, lines) if row.get("depth") == DEPTH]
        self.queries = {row["query_id"]: _candidates(row) for row in rows}
        judged = {query: grades for query, grades in qrels.items() if query in self.queries}
        self._metrics = Metrics(judged, [MAIN])

    def measure(self, read: Read, blend: Blend) -> tuple[float, float]:
        """nDCG@10 and passages read, means over the queries."""
        run, counts = {}, []
        for query, (candidates, scored) in self.queries.items():
            chosen = read(candidates, scored, blend)
            odds = [log_odds_of(blend, scored[c.rank - 1].logit, c) for c in chosen]
            ranked = [chosen[i] for i in sorted(range(len(odds)), key=lambda i: -odds[i])]
            run[query] = list(dict.fromkeys(c.document_id for c in [*ranked, *candidates]))
            counts.append(len(chosen))
        return float(self._metrics(run)[MAIN].mean()), float(np.mean(counts))


def first_of(k: int) -> Read:
    """A smaller K: the first stage's first."""
    return lambda candidates, scored, blend: candidates[:k]


def until_settled(first: int) -> Read:
    """As a search reads, but for the size of its first step."""

    def read(
        candidates: Sequence[Candidate], scored: Sequence[Scored], blend: Blend
    ) -> Sequence[Candidate]:
        order, count = most_likely_first(candidates, blend), first
        while count < len(order) and not is_settled(
            order, [scored[c.rank - 1] for c in order[:count]], blend, LIMIT
        ):
            count += NEXT_READ
        return order[:count]

    return read


def _candidates(row: Mapping[str, Any]) -> tuple[list[Candidate], list[Scored]]:
    names = ("document_ids", "scores", "fused", "cosines", "bm25")
    candidates = [
        Candidate(name, i, "", "", score, i + 1, fused=fused, cosine=cosine, bm25=bm25)
        for i, (name, score, fused, cosine, bm25) in enumerate(
            zip(*(row[c] for c in names), strict=True)
        )
    ]
    return candidates, [Scored(logit, (0, 0)) for logit in row["logits"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("sets", nargs="+", metavar="NAME=QRELS")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--embedding", default="all-MiniLM-L6-v2")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    blend = open_checkpoint(args.model).blend.for_embedding(args.embedding)
    split = (pair.partition("=") for pair in args.sets)
    passes = {n: Pass(args.cache / n, read_qrels(Path(qrels))) for n, _, qrels in split}
    figure, axes = plt.subplots(figsize=(7, 4.2))
    curves: dict[str, dict[int, Read]] = {
        "a smaller K": {k: first_of(k) for k in (5, 10, 15, 20, 30, 40, DEPTH)},
        "until the page is settled": {first: until_settled(first) for first in FIRST},
    }
    print(
        f"| reading | {' | '.join(f'{n} ({len(p.queries)})' for n, p in passes.items())} | mean |"
    )
    print("|---|" + "---:|" * (len(passes) + 1))
    for name, reads in curves.items():
        points = []
        for size, read in reads.items():
            cells = [found.measure(read, blend) for found in passes.values()]
            points.append(np.mean(cells, axis=0))
            shown = " | ".join(f"{quality:.4f} / {count:.1f}" for quality, count in cells)
            print(f"| {name}, {size} | {shown} | {points[-1][0]:.4f} / {points[-1][1]:.1f} |")
        quality, count = np.transpose(points)
        axes.plot(count, quality, "o-", label=name)
    axes.set(xlabel="passages read for each query", ylabel="nDCG@10, mean of the sets")
    axes.legend()
    axes.grid(alpha=0.3)
    if args.plot:
        figure.savefig(args.plot, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
