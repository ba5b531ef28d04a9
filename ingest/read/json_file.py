"""A JSON file: an array of objects, {"documents": […]}, one object, or objects in a row."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import ijson
from ijson.common import ObjectBuilder

from ingest.read.jsonl import describe
from ingest.read.source import InputFile, Options, not_utf8, open_utf8, too_large
from ingest.record import Record, RecordError, Rejection

WRAPPER = "documents"
MAX_DEPTH = 100
MAX_DIGITS = 4000
DIGITS = b"0123456789"
TOO_MANY_DIGITS = re.compile(rb"\d{%d}" % (MAX_DIGITS + 1))
OPENS = ("start_map", "start_array")
CLOSES = ("end_map", "end_array")
Events = Iterator[tuple[str, Any]]


def read_json(file: InputFile, options: Options) -> Iterator[Record | Rejection]:
    """Streams: one record is in memory at a time. Behind a syntax error nothing can be read.

    All values that are no objects are one rejection: a list of words is one mistake, not thousands.
    """
    first: tuple[int, Any] | None = None
    count, broken = 0, None
    with open_utf8(file, options) as stream:
        feed = _Feed(stream, options.max_record_bytes)
        try:
            for line, value in _values(feed):
                if isinstance(value, dict):
                    yield file.record(value, line)
                else:
                    first, count = first or (line, value), count + 1
        except (ijson.JSONError, ValueError, ArithmeticError) as error:
            reason = _in_words(error)
            broken = f"broken JSON at line {feed.line}: {reason}; nothing after it was read"
    if first is not None:
        line, value = first
        more = f" ({count:,} values like this)" if count > 1 else ""
        reason = f"found {describe(value)}, expected a JSON object{more}"
        yield file.rejection(reason, line, raw=str(value) if count == 1 else None)
    if broken:
        raise RecordError(broken)


def _values(feed: _Feed) -> Iterator[tuple[int, Any]]:
    """(line, value) of each record, wherever in the file it lies."""
    events = ijson.basic_parse(feed, multiple_values=True)
    for event, value in events:
        if event == "start_array":
            yield from _members(events, feed)
        elif event == "start_map":
            yield from _object(events, feed)
        else:
            yield feed.line, value


def _members(events: Events, feed: _Feed) -> Iterator[tuple[int, Any]]:
    for event, value in events:
        if event == "end_array":
            return
        line = feed.line
        yield line, _build(events, event, value)
        feed.since_record = 0


def _object(events: Events, feed: _Feed) -> Iterator[tuple[int, Any]]:
    """The members of its `documents`, if they are objects; else the object itself is the record.

    Of `documents` alone and without a member there is nothing to read, as of an empty array.
    """
    line, fields, wrapper = feed.line, dict[str, Any](), False
    for event, key in events:
        if event == "end_map":
            break
        event, value = next(events)
        rest = events
        if key == WRAPPER and event == "start_array":
            member = next(events)
            rest = chain([member], events)
            if member[0] == "start_map":
                wrapper = True
                yield from _members(rest, feed)
                continue
        fields[key] = _build(rest, event, value)
    if not wrapper and fields != {WRAPPER: []}:
        yield line, fields
        feed.since_record = 0


def _build(events: Events, event: str, value: Any) -> Any:
    """The whole value that begins with this event."""
    builder, depth = ObjectBuilder(), 0
    while True:
        builder.event(event, value)
        depth += (event in OPENS) - (event in CLOSES)
        if depth == 0:
            return builder.value
        if depth > MAX_DEPTH:
            raise RecordError(
                f"JSON nested deeper than {MAX_DEPTH} levels; nothing after it was read"
            )
        event, value = next(events)


class _Feed:
    """Hands the parser one line at a time, so that `line` is where it stands."""

    def __init__(self, stream: io.BufferedReader, limit: int) -> None:
        self.line = 1
        self.since_record = 0
        self._stream = stream
        self._limit = limit
        self._offset = 0
        self._line_ended = False
        self._digits = b""  # those that the data so far ends with
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")

    def read(self, size: int) -> bytes:
        if self.since_record > self._limit:
            raise RecordError(
                f"line {self.line}: {too_large('record', self._limit)}; nothing after it was read"
            )
        data = self._stream.readline(size)
        if data:
            self.line += self._line_ended
            self._line_ended = data.endswith(b"\n")
        self._check(data)
        self._check_digits(data)
        self._offset += len(data)
        self.since_record += len(data)
        return data

    def _check_digits(self, data: bytes) -> None:
        """The parser takes the whole process down at an integer that Python does not convert."""
        joined = self._digits + data
        if TOO_MANY_DIGITS.search(joined):
            raise RecordError(f"line {self.line}: over {MAX_DIGITS:,} digits in a row")
        self._digits = joined[len(joined.rstrip(DIGITS)) :]

    def _check(self, data: bytes) -> None:
        pending = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(data)
        except UnicodeDecodeError as error:
            at = self._offset - pending + error.start
            raise RecordError(
                f"line {self.line}: {not_utf8(error.object[error.start], at)}"
            ) from None


def _in_words(error: Exception) -> str:
    """What the parser says; of a number beyond all range it only names the class of the fault."""
    if isinstance(error, ArithmeticError):
        return "a number is too large"
    return (str(error) or type(error).__name__).splitlines()[0].strip()
