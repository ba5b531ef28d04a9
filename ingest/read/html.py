"""A web page: one document a file."""

from __future__ import annotations

from collections.abc import Iterator

from bs4.dammit import EncodingDetector

from ingest.markup import page
from ingest.read.source import Options, Source, decode, read_bytes
from ingest.read.text import whole_file
from ingest.record import Record, RecordError


def read_html(source: Source, options: Options) -> Iterator[Record]:
    """In UTF-8, or what the page says of itself; the title is its <title> or first heading."""
    title, text = page(_decode(read_bytes(source, options), options))
    yield whole_file(source, {"title": title, "text": text}, plain=True)


def _decode(data: bytes, options: Options) -> str:
    declared = None
    if options.encoding is None:  # else `data` is UTF-8 already
        declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    if declared is None or declared.lower() in ("utf-8", "utf8"):
        return decode(data)
    try:
        return data.decode(declared)
    except LookupError:
        return decode(data)
    except UnicodeDecodeError as error:
        raise RecordError(
            f"byte {error.start} is not valid {declared}, which the page says it is in; "
            "name its real encoding, e.g. --encoding utf-8"
        ) from None
