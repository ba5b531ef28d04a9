"""What is read from one file, for the tests of the formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingest.read import read
from ingest.read.source import Options
from ingest.read.walk import Skipped
from ingest.record import Record, Rejection


def items(path: Path, **options: Any) -> list[Record | Rejection]:
    return list(read([str(path)], Options(**options), Skipped()))


def records(path: Path, **options: Any) -> list[Record]:
    found = items(path, **options)
    assert all(isinstance(item, Record) for item in found), found
    return [item for item in found if isinstance(item, Record)]


def rejection(path: Path, **options: Any) -> Rejection:
    (item,) = (item for item in items(path, **options) if isinstance(item, Rejection))
    return item


def whole(path: Path, **options: Any) -> tuple[str, str]:
    """(title, text) of a file that is one document."""
    (record,) = records(path, **options)
    assert record.whole is not None
    return record.whole.title, "\n\n".join(part.text for part in record.whole.sections)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def squeeze(text: str) -> str:
    return " ".join(text.split())
