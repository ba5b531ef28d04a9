"""What is measured: queries and their graded judgments, from a BEIR folder or from two files."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from search.errors import InputError
from search.queries import numbered_lines, read_queries_with_ids, read_text

Qrels = Mapping[str, Mapping[str, int]]
"""query id → document id → grade (0: judged not relevant)."""

BEIR_HEADER = "query-id"


@dataclass(frozen=True, slots=True)
class Task:
    """A judged set. Every query in `queries` has judgments; `unjudged` counts those left out.

    With `judged_pool`, a query's candidates are exactly its judged documents.
    """

    name: str
    queries: Mapping[str, str]
    qrels: Qrels
    unjudged: int = 0
    judged_pool: bool = False

    def pool(self, query_id: str) -> frozenset[str]:
        """The only documents to rank for this query; empty when the whole corpus is searched."""
        return frozenset(self.qrels[query_id]) if self.judged_pool else frozenset()

    def least_grade(self, min_grade: int) -> int:
        """The grade from which a document is relevant: `min_grade`, if any is graded so high."""
        highest = max((max(grades.values()) for grades in self.qrels.values()), default=min_grade)
        return min(min_grade, max(1, highest))

    def without_positive(self, min_grade: int = 1) -> list[str]:
        """Queries that no document of the judgments answers: every run has 0 on them."""
        return [i for i, grades in self.qrels.items() if max(grades.values()) < min_grade]

    def sample(self, n: int | None, seed: int) -> Task:
        """`n` queries drawn at random, in the set's order; None or more than there are: all."""
        if n is None or n >= len(self.queries):
            return self
        drawn = set(random.Random(seed).sample(list(self.queries), n))
        return replace(
            self,
            queries={i: text for i, text in self.queries.items() if i in drawn},
            qrels={i: grades for i, grades in self.qrels.items() if i in drawn},
        )


def read_folder(folder: Path, split: str, qrels_dir: str = "qrels") -> Task:
    """A BEIR folder's split: `queries.jsonl` and `qrels_dir/split.tsv`."""
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; expected one in BEIR layout")
    qrels = folder / qrels_dir / f"{split}.tsv"
    if not qrels.is_file():
        raise InputError(f"{qrels}: no such split; {_splits_of(folder)}")
    return read_files(folder / "queries.jsonl", qrels, folder.resolve().name)


def read_files(queries: Path, qrels: Path, name: str) -> Task:
    """Queries (JSONL, TSV or TREC topics) and judgments (BEIR TSV or TREC qrels).

    Raises InputError for a judged query without text; queries without judgments are left out.
    """
    texts, grades = read_queries_with_ids(queries), read_qrels(qrels)
    missing = [query_id for query_id in grades if query_id not in texts]
    if missing:
        raise InputError(
            f"{qrels}: {len(missing)} judged queries are not in {queries}, "
            f"for example {', '.join(missing[:3])}"
        )
    judged = {query_id: texts[query_id] for query_id in grades}
    return Task(name, judged, grades, unjudged=len(texts) - len(judged))


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Judgments from BEIR TSV (three columns, a header) or TREC qrels (four, no header)."""
    grades: dict[str, dict[str, int]] = {}
    for at, line in numbered_lines(path, read_text(path)):
        cells = line.split("\t") if "\t" in line else line.split()
        if cells[0] == BEIR_HEADER:
            continue
        if len(cells) not in (3, 4):
            raise InputError(
                f"{at}: found {len(cells)} columns; expected query, document, grade (BEIR) "
                "or query, iteration, document, grade (TREC)"
            )
        try:
            grade = int(cells[-1])
        except ValueError:
            raise InputError(f"{at}: grade {cells[-1]!r} is not a whole number") from None
        grades.setdefault(cells[0], {})[cells[-2]] = grade
    if not grades:
        raise InputError(f"{path}: no judgments in it")
    return grades


def _splits_of(folder: Path) -> str:
    found = sorted(str(path.relative_to(folder)) for path in folder.glob("qrels*/*.tsv"))
    if not found:
        return f"{folder} has no qrels at all; expected qrels/test.tsv (BEIR layout)"
    return f"this folder has {', '.join(found)}: give one of these instead"
