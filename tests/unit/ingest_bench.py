"""What runs ingest in tests: jobs over a store in memory, in one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ingest_fakes import MemoryStore

import config
from ingest import run
from ingest.fields import FieldNames
from ingest.read.source import Options
from ingest.run import Job
from ingest.summary import Summary


class Spoken:
    """Progress that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, records: int) -> None: ...

    def add_embedded(self, passages: int) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)


class Bench:
    """Runs jobs over a memory store, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.said = Spoken()
        self.settings = config.load({"store": folder / "store.db"}, {}, [])

    def __call__(self, *lines: object, **job: Any) -> Summary:
        path = self.folder / "in.jsonl"
        path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines))
        return self.read(path, **job)

    def read(self, path: Path, **job: Any) -> Summary:
        return self.read_all([str(path)], **job)

    def read_all(self, inputs: list[str], **job: Any) -> Summary:
        job = {"options": Options(), "rejects": self.folder / "rejects.jsonl"} | job
        return run.ingest(Job(inputs, self.settings, names=FieldNames(), **job), self.said)

    def rejects(self) -> list[dict[str, Any]]:
        path = self.folder / "rejects.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def sources(self) -> dict[str, str]:
        """Where each document came from, by the file's path below the folder."""
        listed = self.store.documents()
        return {
            one.id: str(Path(one.source.file).relative_to(self.folder))
            for one in listed
            if one.source
        }


def counted(summary: Summary) -> tuple[int, int, int]:
    counts = summary.counts
    assert counts.read == counts.stored + counts.unchanged + counts.rejected
    return counts.stored, counts.unchanged, counts.rejected


def doc(document_id: object, text: str = "some text", **fields: Any) -> dict[str, Any]:
    return {"id": document_id, "text": text, **fields}


def write(bench: Bench, name: str, *lines: dict[str, Any]) -> Path:
    path = bench.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(map(json.dumps, lines)))
    return path
