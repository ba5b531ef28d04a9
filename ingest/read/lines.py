"""The lines of an input: a bad one is an error, and those after it are still read."""

from __future__ import annotations

import io

from ingest.read.source import CHUNK, decode, too_large
from ingest.record import RecordError


class BadLine(RecordError):
    """One line cannot be used; the lines after it can. `raw` is what it held, if it was kept."""

    def __init__(self, reason: str, raw: str | None = None) -> None:
        super().__init__(reason)
        self.raw = raw


class Lines:
    """Lines, numbered, bounded in length, decoded one by one; after BadLine it goes on behind it.

    (A generator would end at its first exception, and the csv module reads on from here too.)
    """

    def __init__(self, stream: io.BufferedReader, limit: int) -> None:
        self.number = 0
        self._limit = limit
        self._offset = 0
        head = stream.peek(CHUNK)
        only_returns = b"\r" in head and b"\n" not in head
        self._stream = io.BufferedReader(_CarriageReturns(stream)) if only_returns else stream

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        raw = self._stream.readline(self._limit + 1)
        if not raw:
            raise StopIteration
        self.number += 1
        start, self._offset = self._offset, self._offset + len(raw)
        if len(raw) > self._limit:
            self._skip_rest(raw)
            raise BadLine(too_large("line", self._limit))
        try:
            return decode(raw, start)
        except RecordError as error:
            raise BadLine(str(error), raw.decode("utf-8", "backslashreplace").rstrip()) from None

    def _skip_rest(self, raw: bytes) -> None:
        """Pass over the line in small pieces: it may be larger than the memory."""
        while raw and not raw.endswith(b"\n"):
            raw = self._stream.readline(CHUNK)
            self._offset += len(raw)


class _CarriageReturns(io.RawIOBase):
    """Lines that end in a carriage return alone, as old Macs and some spreadsheets write them."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._stream.read1(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)
