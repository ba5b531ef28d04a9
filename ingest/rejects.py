"""The rejects file: JSONL that holds each rejected record, to be mended and fed back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO

from ingest.read.jsonl import RAW
from ingest.read.source import NOTE, is_rejects_file
from ingest.record import Rejection
from search.errors import InputError

ANOTHER = "name another with --rejects FILE"


def check_rejects(path: Path, inputs: Iterable[str]) -> None:
    """InputError unless the rejects file can be made without harm to anything that is there.

    One of an earlier run may lie there, or one that was mended and is now among the inputs.
    """
    if not path.name:
        raise InputError(f"--rejects {path}: expected the name of a file")
    if not path.parent.is_dir():
        raise InputError(
            f"the rejects file {path} cannot be written: there is no folder {path.parent}"
        )
    for target in (path, _partial(path)):
        if target.exists() and not target.is_file():
            raise InputError(f"{target} is there already and is no regular file; {ANOTHER}")
        if not (_may_be_replaced(target) or str(path) in inputs):
            raise InputError(f"{target} is there already, and ingest did not write it; {ANOTHER}")


class Rejects:
    """Made at the first rejection, under another name until the run is over.

    So the file may be an input of this same run. An older one is kept beside it as NAME.old.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def add(self, rejection: Rejection) -> None:
        """Raises InputError when the file cannot be written."""
        with self._translate_errors():
            if self._file is None:
                self._file = _partial(self.path).open("w", encoding="utf-8", buffering=1)
            self._file.write(_line(rejection) + "\n")

    def close(self) -> Path | None:
        """Give the file its name; its path, or None when nothing was rejected."""
        if self._file is None:
            return None
        file, self._file = self._file, None
        with self._translate_errors():
            file.close()
            if self.path.exists():
                self.path.replace(_aside(self.path))
            _partial(self.path).replace(self.path)
        return self.path

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"the rejects file {self.path} cannot be written: {error.strerror}; {ANOTHER}"
            ) from None


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _aside(path: Path) -> Path:
    """Where an older file goes: NAME.old, or NAME.old2 where that holds what others wrote."""
    names = (path.with_name(f"{path.name}.old{number or ''}") for number in (0, *range(2, 100)))
    return next(filter(_may_be_replaced, names), path.with_name(f"{path.name}.old"))


def _may_be_replaced(path: Path) -> bool:
    if not path.exists():
        return True
    return path.is_file() and (path.stat().st_size == 0 or is_rejects_file(path))


def _line(rejection: Rejection) -> str:
    source = rejection.source
    file = rejection.file if source is None else source.file
    line = rejection.line if source is None else source.line
    note = {"reason": rejection.reason, "file": file, "line": line}
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
