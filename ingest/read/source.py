"""Opening an input: gzip and encodings undone, so that every reader sees UTF-8 bytes."""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from ingest.record import RecordError

GZIP_MAGIC = b"\x1f\x8b"
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BINARY = (".pdf", ".docx")
CHUNK = 1 << 16


@dataclass(slots=True)
class Meter:
    """Bytes read so far, as they lie on the disk (compressed); `total` is None when unknowable."""

    total: int | None = None
    finished: int = 0
    current: BinaryIO | None = None

    @property
    def done(self) -> int:
        return self.finished + (self.current.tell() if self.current else 0)


@dataclass(frozen=True, slots=True)
class Options:
    """How to read: a forced `encoding`, the largest record, and where standard input is."""

    encoding: str | None = None
    max_record_bytes: int = 32 << 20
    stdin: BinaryIO | None = None
    meter: Meter = field(default_factory=Meter)


@dataclass(frozen=True, slots=True)
class Source:
    """One input file; `path` is None for standard input. `id` is its path below the given root."""

    path: Path | None
    name: str
    id: str

    @property
    def suffix(self) -> str:
        """The format's suffix, `.gz` set aside: 'corpus.jsonl.gz' → '.jsonl'."""
        return Path(self.id.lower().removesuffix(".gz")).suffix


@contextmanager
def open_bytes(source: Source, options: Options) -> Iterator[io.BufferedReader]:
    """The content as buffered bytes in UTF-8, without a byte order mark."""
    if source.path is None:
        if options.stdin is None:
            raise RecordError("there is no standard input to read")
        yield _opened(options.stdin, source, options)
        return
    meter = options.meter
    with source.path.open("rb", buffering=0) as raw:
        meter.current = raw
        try:
            yield _opened(raw, source, options)
        finally:
            meter.finished += raw.tell()
            meter.current = None


def read_text(source: Source, options: Options) -> str:
    """A whole text file, strictly decoded; RecordError says at which byte it is not text."""
    return decode(read_bytes(source, options))


def read_bytes(source: Source, options: Options) -> bytes:
    """The whole file, refused above the record limit."""
    with open_bytes(source, options) as stream:
        data = stream.read(options.max_record_bytes + 1)
    if len(data) > options.max_record_bytes:
        raise RecordError(too_large("file", options.max_record_bytes))
    return data


def decode(data: bytes, offset: int = 0) -> str:
    """Strict UTF-8 without NUL bytes; `offset` is where `data` starts in the file."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(not_utf8(data[error.start], offset + error.start)) from None
    if "\0" in text:
        at = offset + data.index(b"\0")
        raise RecordError(
            f"NUL byte at byte {at}: this is not text (UTF-16? say --encoding utf-16)"
        )
    return text


def not_utf8(byte: int, offset: int) -> str:
    return (
        f"byte {offset} (0x{byte:02x}) is not valid UTF-8; save the file as UTF-8, "
        "or name its encoding, e.g. --encoding latin-1"
    )


def too_large(what: str, limit: int) -> str:
    return f"the {what} is larger than {limit / (1 << 20):g} MiB; allow more with --max-record-mb"


def _opened(raw: BinaryIO, source: Source, options: Options) -> io.BufferedReader:
    stream = _gunzipped(io.BufferedReader(cast(io.RawIOBase, raw)), source.name)
    stream = _utf8(stream, options.encoding) if source.suffix not in BINARY else stream
    if not stream.peek(1):
        raise RecordError("the file is empty")
    return stream


def _gunzipped(stream: io.BufferedReader, name: str) -> io.BufferedReader:
    if stream.peek(2)[:2] == GZIP_MAGIC:
        return io.BufferedReader(gzip.GzipFile(fileobj=stream))
    if name.lower().endswith(".gz") and stream.peek(1):
        raise RecordError("the name ends in .gz, but the content is not gzip")
    return stream


def _utf8(stream: io.BufferedReader, encoding: str | None) -> io.BufferedReader:
    head = stream.peek(3)
    if encoding is None and head[:2] in UTF16_MARKS:
        encoding = "utf-16"
    if encoding is not None and codecs.lookup(encoding).name != "utf-8":
        stream = io.BufferedReader(_Transcoder(stream, encoding))
        head = stream.peek(3)
    if head[:3] == codecs.BOM_UTF8:
        stream.read(3)
    return stream


class _Transcoder(io.RawIOBase):
    """A stream in any encoding, read as UTF-8."""

    def __init__(self, stream: io.BufferedReader, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._offset = 0
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._ready and not self._ended:
            self._refill()
        taken = self._ready[: len(buffer)]
        self._ready = self._ready[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def _refill(self) -> None:
        data = self._stream.read(CHUNK)
        self._ended = not data
        try:
            text = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            at = self._offset + error.start
            raise RecordError(
                f"byte {at} or just before it is not valid {self._encoding}"
            ) from None
        self._offset += len(data)
        self._ready = text.encode("utf-8", "replace")
