"""JSON Lines, one object a line; also the rejects file that ingest itself writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from ingest.read.lines import BadLine, Lines
from ingest.read.source import NOTE, InputFile, Options, Undecodable, open_utf8
from ingest.record import Record, RecordError, Rejection, location
from search.types import Source

RAW = "_raw"
EARLIER = "only a note of an earlier run, mend the original and ingest that: "


def read_jsonl(file: InputFile, options: Options) -> Iterator[Record | Rejection]:
    """Each line becomes a record or a rejection; a bad line never hides the ones after it."""
    with open_utf8(file, options) as stream:
        lines = Lines(stream, options.max_record_bytes)
        while True:
            line: str | None = None
            try:
                line = next(lines)
                if line.strip():
                    fields, origin = _object(line.strip())
                    record = file.record(fields, lines.number)
                    yield replace(record, source=origin) if origin else record
            except StopIteration:
                return
            except Undecodable:
                raise
            except _NotMended as error:
                rejected = file.rejection(str(error), lines.number, error.raw)
                yield replace(rejected, source=error.origin or rejected.source)
            except RecordError as error:
                raw = error.raw if isinstance(error, BadLine) else (line or "").rstrip()
                yield file.rejection(str(error), lines.number, raw)


def _object(line: str) -> tuple[dict[str, Any], Source | None]:
    """The fields; and where they came from first, when an earlier run rejected them."""
    value = parse(line)
    if not isinstance(value, dict):
        raise RecordError(f"found {describe(value)}, expected a JSON object")
    if NOTE not in value:
        return value, None
    note = value.pop(NOTE)
    note = note if isinstance(note, dict) else {}
    origin = _origin(note)
    if isinstance(value.get(RAW), str):
        return _mended(value[RAW], origin)
    if not value:
        raise _NotMended(_repeated(note), None, origin)
    return value, origin


class _NotMended(RecordError):
    """A line of a rejects file is rejected again: `raw` and `origin` are those it gives."""

    def __init__(self, reason: str, raw: str | None, origin: Source | None) -> None:
        super().__init__(reason)
        self.raw = raw
        self.origin = origin


def _origin(note: dict[str, Any]) -> Source | None:
    file, line = note.get("file"), note.get("line")
    if not isinstance(file, str) or not isinstance(line, int | None):
        return None
    return Source(file, line) if PurePath(file).is_absolute() or file == "-" else None


def _repeated(note: dict[str, Any]) -> str:
    """The reason that a rejects line gives, not wrapped up anew at each run."""
    reason = str(note.get("reason"))
    if reason.startswith(EARLIER):
        return reason
    return f"{EARLIER}{location(str(note.get('file')), note.get('line'))}: {reason}"


def _mended(raw: str, origin: Source | None) -> tuple[dict[str, Any], Source | None]:
    """A line that could not be read before: by now it should be a JSON object.

    Earlier versions put a rejects line into another one at each run: what is innermost counts.
    """
    try:
        fields, inner = _object(raw.strip())
    except _NotMended as error:
        raise _NotMended(str(error), error.raw, error.origin or origin) from None
    except RecordError as error:
        raise _NotMended(f"{RAW} is not mended yet: {error}", raw, origin) from None
    return fields, inner or origin


def parse(text: str) -> Any:
    """JSON, decimals kept as they were spelt (an id may be 1.50); NaN is read as null."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=lambda name: None)
    except json.JSONDecodeError as error:
        raise RecordError(f"broken JSON at column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise RecordError("the JSON is nested too deeply") from None
    except (ValueError, ArithmeticError) as error:  # a number of thousands of digits
        raise RecordError(f"broken JSON: {error}") from None


def describe(value: object) -> str:
    """A JSON value's type, for messages."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | Decimal):
        return "a number"
    if value is None:
        return "null"
    return (
        "a string"
        if isinstance(value, str)
        else "a list"
        if isinstance(value, list)
        else "an object"
    )
