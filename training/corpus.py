"""A BEIR folder as training reads it: documents, queries with metadata, one split's judgments."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.errors import InputError
from search.evaluate.data import Qrels, read_folder
from search.types import Document

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """One data set; documents by id, and the judgments of the split that is trained on."""

    name: str
    documents: Mapping[str, Document]
    queries: Mapping[str, str]
    metadata: Mapping[str, Record]
    qrels: Qrels

    def relevant(self, query_id: str) -> tuple[str, ...]:
        """The documents that answer the query and are in the corpus."""
        grades = self.qrels[query_id]
        return tuple(i for i, grade in grades.items() if grade > 0 and i in self.documents)

    def questions(self) -> dict[str, str]:
        """Document → a question that it answers."""
        return {
            i: self.queries[query_id] for query_id in self.qrels for i in self.relevant(query_id)
        }

    def without(self, query_ids: set[str]) -> TrainingSet:
        """The same set less these queries, and less the documents that they alone judge."""
        kept = {i: grades for i, grades in self.qrels.items() if i not in query_ids}
        gone = {d for i in query_ids for d in self.qrels[i]} - {d for g in kept.values() for d in g}
        documents = {i: document for i, document in self.documents.items() if i not in gone}
        return replace(self, documents=documents, qrels=kept)


def read_set(folder: Path, split: str, max_documents: int, draw: random.Random) -> TrainingSet:
    """A BEIR folder, its corpus thinned to at most `max_documents`, of judged topics first.

    Documents that only another split judges are left out (they are that split's to be tested on);
    those that nothing judges stay. Raises InputError for a folder that is not in BEIR layout.
    """
    grouped = "qrels_grouped" if (folder / "qrels_grouped" / f"{split}.tsv").is_file() else "qrels"
    task = read_folder(folder, split, grouped)
    ours = {i for grades in task.qrels.values() for i in grades}
    theirs = {
        i
        for path in (folder / "qrels").glob("*.tsv")
        if path.stem != split
        for grades in read_folder(folder, path.stem).qrels.values()
        for i in grades
    }
    metadata = {str(r["_id"]): r.get("metadata") or {} for r in _records(folder / "queries.jsonl")}
    documents = [
        Document(str(r["_id"]), str(r.get("title") or ""), str(r["text"]))
        for r in _records(folder / "corpus.jsonl")
        if str(r["_id"]) in ours or str(r["_id"]) not in theirs
    ]
    if len(documents) > max_documents:
        documents = _thinned(documents, max_documents, ours, draw)
    by_id = {document.id: document for document in documents}
    return TrainingSet(task.name, by_id, task.queries, metadata, task.qrels)


def _thinned(
    documents: list[Document], count: int, judged: set[str], draw: random.Random
) -> list[Document]:
    """`count` documents, whole topics (titles) at a time: siblings are the best negatives.

    Topics with a judged document come first: without it, a query has no answer to learn from.
    """
    by_title: dict[str, list[Document]] = {}
    for document in documents:
        by_title.setdefault(document.title or document.id, []).append(document)
    titles = list(by_title)
    draw.shuffle(titles)
    titles.sort(key=lambda title: not any(document.id in judged for document in by_title[title]))
    kept: list[Document] = []
    for title in titles:
        if len(kept) >= count:
            break
        kept += by_title[title]
    return kept[:count]


def _records(path: Path) -> Iterator[Record]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                record = json.loads(line)
                if not isinstance(record, dict) or "_id" not in record or "text" not in record:
                    raise InputError(f"{path}:{number}: expected an object with _id and text")
                yield record
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON lines: {error}") from None
