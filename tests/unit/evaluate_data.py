"""Made-up passes for the tests of search.evaluate: seeded, small, no model."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from search.evaluate.data import Task
from search.evaluate.scoring import ScoredQuery
from search.types import Candidate


def task(n: int, documents: int = 30, seed: int = 0, name: str = "made-up") -> Task:
    """n queries, each with one to three relevant documents of grade 1 to 3, and one judged 0."""
    rng = random.Random(seed)
    qrels = {}
    for q in range(n):
        picked = rng.sample(range(documents), rng.randint(2, 4))
        qrels[f"q{q}"] = {f"d{d}": rng.randint(1, 3) for d in picked[1:]} | {f"d{picked[0]}": 0}
    return Task(name, {i: f"question {i}" for i in qrels}, qrels)


def candidates(query_id: str, depth: int = 20, documents: int = 30) -> list[Candidate]:
    """Passages in first-stage order; documents recur, as those of several passages do."""
    rng = random.Random(f"first {query_id}")
    scores = sorted((rng.random() for _ in range(depth)), reverse=True)
    seen: dict[str, int] = {}
    found = []
    for rank, score in enumerate(scores, start=1):
        document = f"d{rng.randrange(documents)}"
        seen[document] = seen.get(document, -1) + 1
        text = f"passage {seen[document]} of {document}"
        signals = {"cosine": rng.random(), "bm25": 20 * rng.random(), "fused": score}
        found.append(Candidate(document, seen[document], "", text, score, rank, **signals))
    return found


def logit(query: str, text: str) -> float:
    """A number from -5 to 5 that depends on both texts and nothing else."""
    digest = hashlib.sha256(f"{query}\0{text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 * 10 - 5


def score_pairs(pairs: Sequence[tuple[str, str]]) -> list[float]:
    return [logit(query, text) for query, text in pairs]


def scored(made: Task, depth: int = 20, signal: float = 0.0) -> list[ScoredQuery]:
    """The pass over a made-up task; `signal` is what a grade adds to a document's logit."""
    rows = []
    for query_id, query in made.queries.items():
        found = candidates(query_id, depth)
        grades = made.qrels[query_id]
        logits = (logit(query, c.passage) + signal * grades.get(c.document_id, 0) for c in found)
        rows.append(
            ScoredQuery(
                query_id,
                tuple(c.document_id for c in found),
                tuple(c.score for c in found),
                tuple(c.cosine for c in found),
                tuple(c.bm25 for c in found),
                tuple(c.fused for c in found),
                tuple(logits),
                10.0 * len(found),
            )
        )
    return rows
