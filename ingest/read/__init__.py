"""Reading: every format becomes a stream of records and rejections."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator

from ingest.read.source import Options, Source
from ingest.read.walk import Skipped, sources
from ingest.record import Record, RecordError, Rejection
from search.errors import MissingExtra

Items = Iterator[Record | Rejection]
Reader = Callable[[Source, Options], Iterator[Record] | Items]


def read(inputs: Iterable[str], options: Options, skipped: Skipped) -> Items:
    """All records of all inputs, in order. A file that fails is rejected, the next one is read."""
    for source in sources(inputs, skipped):
        if isinstance(source, Rejection):
            yield source
        else:
            yield from _read_file(source, options)


def _read_file(source: Source, options: Options) -> Items:
    empty = True
    try:
        for item in _reader(source)(source, options):
            empty = False
            yield item
        if empty:
            raise RecordError("the file holds no records")
    except (RecordError, MissingExtra) as error:
        reason = str(error)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = f"the gzip data is cut short or broken ({error}); nothing after this was read"
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror or error}"
    else:
        return
    yield Rejection(reason, source.name, incomplete=True)


def _reader(source: Source) -> Reader:
    """The reader of a format; each brings its own library along, so none loads for nothing."""
    match source.suffix:
        case "" | ".jsonl" | ".ndjson":  # standard input is JSONL
            from ingest.read.jsonl import read_jsonl

            return read_jsonl
        case ".json":
            from ingest.read.json_file import read_json

            return read_json
        case ".csv" | ".tsv":
            from ingest.read.table import read_table

            return read_table
        case ".md" | ".markdown":
            from ingest.read.text import read_markdown

            return read_markdown
        case ".html" | ".htm" | ".xhtml":
            from ingest.read.html import read_html

            return read_html
        case ".pdf":
            from ingest.read.pdf import read_pdf

            return read_pdf
        case ".docx":
            from ingest.read.docx import read_docx

            return read_docx
        case _:
            from ingest.read.text import read_plain

            return read_plain
