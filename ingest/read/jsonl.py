"""JSON Lines, one object a line; also the rejects file that ingest itself writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from ingest.read.source import NOTE, BadLine, InputFile, Lines, Options, Undecodable, open_utf8
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
                    fields, origin = _object(line)
                    record = file.record(fields, lines.number)
                    yield replace(record, source=origin) if origin else record
            except StopIteration:
                return
            except Undecodable:
                raise
            except RecordError as error:
                raw = error.raw if isinstance(error, BadLine) else (line or "").rstrip()
                yield file.rejection(str(error), lines.number, raw)


def _object(line: str) -> tuple[dict[str, Any], Source | None]:
    """The fields; and where they came from first, when an earlier run rejected them."""
    value = parse(line.strip())
    if not isinstance(value, dict):
        raise RecordError(f"found {describe(value)}, expected a JSON object")
    if NOTE not in value:
        return value, None
    note = value.pop(NOTE)
    note = note if isinstance(note, dict) else {}
    if isinstance(value.get(RAW), str):
        value = _mended(value[RAW])
    elif not value:
        raise RecordError(_repeated(note))
    return value, _origin(note)


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


def _mended(raw: str) -> dict[str, Any]:
    """A line that could not be read before: by now it should be a JSON object."""
    try:
        return _object(raw)[0]
    except RecordError as error:
        raise RecordError(f"{RAW} is not mended yet: {error}") from None


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
