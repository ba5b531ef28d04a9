"""The rejects file: JSONL that holds each rejected record, to be mended and fed back."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import IO

from ingest.read.jsonl import RAW
from ingest.read.source import NOTE
from ingest.record import Rejection
from search.errors import InputError


class Rejects:
    """Made at the first rejection, under another name until the run is over.

    So the file may be an input of this same run. An older one is kept beside it as NAME.old.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(f"{path.name}.partial")
        self._file: IO[str] | None = None

    def add(self, rejection: Rejection) -> None:
        """Raises InputError when the file cannot be written."""
        try:
            if self._file is None:
                self._file = self._partial.open("w", encoding="utf-8")
            self._file.write(_line(rejection) + "\n")
        except OSError as error:
            raise InputError(
                f"the rejects file {self._partial} cannot be written: {error.strerror}; "
                "name another with --rejects FILE"
            ) from None

    def close(self) -> Path | None:
        """Put the file in place; its path, or None when nothing was rejected."""
        if self._file is None:
            return None
        self._file.close()
        if self.path.exists():
            self.path.replace(self.path.with_name(f"{self.path.name}.old"))
        self._partial.replace(self.path)
        self._file = None
        return self.path


def _line(rejection: Rejection) -> str:
    note = {"reason": rejection.reason, "file": rejection.file, "line": rejection.line}
    record = dict(rejection.fields or {})
    if rejection.raw is not None:
        record[RAW] = rejection.raw
    try:
        return _dump({NOTE: note, **record})
    except RecursionError:
        return _dump({NOTE: note})


def _dump(value: object) -> str:
    """JSON in which a decimal is spelt as it was read: the id 1.50 is not 1.5."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_dump(value[key])}" for key in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_dump, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value)
