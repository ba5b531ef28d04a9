"""Opening an input: gzip and encodings undone, so that every reader sees UTF-8 bytes."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from ingest.record import EmptyFile, Record, RecordError, Rejection
from search.errors import InputError
from search.types import Source

GZIP_MAGIC = b"\x1f\x8b"
# UTF-32 first: its little-endian mark begins with that of UTF-16.
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
CHUNK = 1 << 16
HEAD = 1 << 12
# Bytes that no text holds in any common encoding (but UTF-16, which is known by its mark); a
# backspace and an escape are in text that was made for printers and terminals.
CONTROLS = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
NOTE = "_reject"
ALLOW_MORE = "; allow more with --max-record-mb"
REJECTS_HEAD = f'{{"{NOTE}":'.encode()
LINE_ENDS = re.compile(r"\r\n?")


@dataclass(slots=True)
class Meter:
    """Bytes read so far, as they lie on the disk (compressed); `total` is None when unknowable.

    `name` is the file being read. A progress display reads this from a thread of its own.
    """

    total: int | None = None
    finished: int = 0
    current: BinaryIO | None = None
    name: str = ""

    @property
    def done(self) -> int:
        current = self.current
        return self.finished + (_position(current) if current else 0)


@dataclass(frozen=True, slots=True)
class Options:
    """How to read: a forced `encoding` and `format`, the largest record, and standard input.

    Of a folder, only files that match a pattern in `include` (if there are any), and none in
    `exclude`: with a "/" in it a pattern is matched with the path below the folder, else with
    each name. `only`: the ids of the files to read, where not all of them are.
    """

    encoding: str | None = None
    format: str | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    only: Collection[str] | None = None
    max_record_bytes: int = 32 << 20
    stdin: BinaryIO | None = None
    meter: Meter = field(default_factory=Meter)


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to read. `path` is None for standard input; `format` is one of FORMATS.

    `name` is for messages, `id` is what a document is known by that is the whole of this file.
    `found`: it was found in a folder, not named by the user.
    """

    path: Path | None
    name: str
    id: str
    format: str
    found: bool = False

    def record(self, fields: Mapping[str, Any], line: int | None = None) -> Record:
        return Record(fields, self.name, line, source=self.source(line))

    def rejection(
        self, reason: str, line: int | None = None, raw: str | None = None, incomplete: bool = False
    ) -> Rejection:
        return Rejection(reason, self.name, line, None, raw, incomplete, self.source(line))

    def source(self, line: int | None = None) -> Source:
        return Source(self.id or "-", line)


def check_encoding(name: str) -> None:
    """InputError for what is no text encoding that Python knows."""
    try:
        " ".encode(name)  # raises for an encoding of bytes, such as base64, too
    except (LookupError, ValueError):
        raise InputError(
            f"encoding {name!r} is unknown; expected e.g. latin-1, cp1252, utf-16"
        ) from None


def looks_like_text(path: Path) -> bool:
    """Whether a file's first bytes, gzip undone, hold no control characters.

    Also True for what cannot be opened: reading it will say why.
    """
    try:
        head = _head(path)
    except (OSError, zlib.error):
        return True
    return marked_encoding(head) is not None or not CONTROLS.search(head)


def is_rejects_file(path: Path) -> bool:
    """Whether ingest itself wrote this: rejected records are ingested only when named."""
    try:
        return _head(path).startswith(REJECTS_HEAD)
    except (OSError, zlib.error):
        return False


def _head(path: Path) -> bytes:
    """The first bytes, gzip undone: little, since a walk asks it of every file."""
    with path.open("rb", buffering=0) as raw:
        data = raw.read(HEAD)
    if data.startswith(GZIP_MAGIC):
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, HEAD)
    return data


@contextmanager
def open_bytes(file: InputFile, options: Options) -> Iterator[io.BufferedReader]:
    """The content as it is, but for gzip."""
    if file.path is None:
        if options.stdin is None:
            raise RecordError("there is no standard input to read")
        yield _gunzipped(options.stdin, file)
        return
    meter = options.meter
    with file.path.open("rb", buffering=0) as raw:
        meter.current, meter.name = raw, file.name
        try:
            yield _gunzipped(raw, file)
        finally:
            meter.finished += _position(raw)
            meter.current = None


@contextmanager
def open_utf8(file: InputFile, options: Options) -> Iterator[io.BufferedReader]:
    """The content in UTF-8, without a byte order mark, which is right whatever else is said."""
    with open_bytes(file, options) as stream:
        marked = marked_encoding(stream.peek(4))
        encoding = marked or _with_byte_order(options.encoding or "utf-8", stream)
        if codecs.lookup(encoding).name != "utf-8":
            stream = io.BufferedReader(_Transcoder(stream, encoding))
        if stream.peek(3)[:3] == codecs.BOM_UTF8:
            stream.read(3)
        yield stream


def read_bytes(file: InputFile, options: Options) -> bytes:
    """The whole file as it is, refused above the record limit."""
    with open_bytes(file, options) as stream:
        return _read_all(stream, options)


def read_text(file: InputFile, options: Options) -> str:
    """A whole text file, strictly decoded; RecordError says at which byte it is not text."""
    with open_utf8(file, options) as stream:
        return LINE_ENDS.sub("\n", decode(_read_all(stream, options)))


def decode(data: bytes, offset: int = 0) -> str:
    """Strict UTF-8 without NUL bytes; `offset` is where `data` starts in the file."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(not_utf8(data[error.start], offset + error.start)) from None
    return without_nul(text, offset)


def without_nul(text: str, offset: int = 0) -> str:
    """The text itself; RecordError where a NUL shows that it is none."""
    at = text.find("\0")
    if at < 0:
        return text
    at = offset + len(text[:at].encode("utf-8", "replace"))
    raise RecordError(f"NUL byte at byte {at}: this is not text (UTF-16? say --encoding utf-16)")


def marked_encoding(head: bytes) -> str | None:
    """The encoding that a byte order mark at the start of `head` names."""
    return next((name for mark, name in MARKS.items() if head.startswith(mark)), None)


def not_utf8(byte: int, offset: int) -> str:
    return (
        f"byte {offset} (0x{byte:02x}) is not valid UTF-8; save the file as UTF-8, "
        "or name its encoding, e.g. --encoding latin-1"
    )


def too_large(what: str, limit: int) -> str:
    return f"the {what} is larger than {limit / (1 << 20):g} MiB{ALLOW_MORE}"


class Undecodable(RecordError):
    """The rest of the file is not in the encoding that was named: its lines cannot be found."""


def _position(stream: BinaryIO) -> int:
    with suppress(OSError, ValueError):  # a pipe has no position, nor has a closed file
        return stream.tell()
    return 0


def _read_all(stream: io.BufferedReader, options: Options) -> bytes:
    data = stream.read(options.max_record_bytes + 1)
    if len(data) > options.max_record_bytes:
        raise RecordError(too_large("file", options.max_record_bytes))
    return data


def _gunzipped(raw: BinaryIO, file: InputFile) -> io.BufferedReader:
    stream: io.BufferedReader = io.BufferedReader(cast(io.RawIOBase, raw), CHUNK)
    if stream.peek(2)[:2] == GZIP_MAGIC:
        unpacked = cast(io.RawIOBase, gzip.GzipFile(fileobj=stream))
        stream = io.BufferedReader(unpacked, CHUNK)
    elif file.name.lower().endswith(".gz") and stream.peek(1):
        raise RecordError("the name ends in .gz, but the content is not gzip")
    if not stream.peek(1):
        raise EmptyFile("the file is empty")
    return stream


def _with_byte_order(encoding: str, stream: io.BufferedReader) -> str:
    """Python's utf-16 and utf-32 insist on a byte order mark; without one, zeros tell the order."""
    name = codecs.lookup(encoding).name
    head = stream.peek(CHUNK)[:CHUNK]
    if name not in ("utf-16", "utf-32"):
        return encoding
    width = 2 if name == "utf-16" else 4
    zeros_lead = head[::width].count(0) > head[width - 1 :: width].count(0)
    return f"{name}-be" if zeros_lead else f"{name}-le"


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
        except UnicodeError as error:
            at = self._offset + getattr(error, "start", 0)
            reason = f"byte {at} or just before it is not valid {self._encoding}"
            raise Undecodable(f"{reason}; nothing after it was read") from None
        self._offset += len(data)
        self._ready = text.encode("utf-8", "replace")
