"""Reading: every format becomes a stream of records and rejections."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ingest.fields import FieldNames, has_text_field
from ingest.read.source import InputFile, Meter, Options
from ingest.read.walk import Skipped, sources
from ingest.record import EmptyFile, Record, RecordError, Rejection
from search.errors import MissingExtra

Items = Iterator[Record | Rejection]
Reader = Callable[[InputFile, Options], Iterator[Record] | Items]
OF_RECORDS = ("jsonl", "json", "csv", "tsv")
log = logging.getLogger(__name__)


def read(
    inputs: Iterable[str], options: Options, skipped: Skipped, names: FieldNames | None = None
) -> Items:
    """All records of all inputs, in order. A file that fails is rejected, the next one is read."""
    for source in sources(inputs, options, skipped):
        if isinstance(source, Rejection):
            yield source
        elif source.found and _without_text(source, options, names or FieldNames()):
            skipped.without_text.append(source.name)
        else:
            yield from _read_file(source, options, skipped)


def _without_text(file: InputFile, options: Options, names: FieldNames) -> bool:
    """Whether records in a folder are not meant for reading: settings, lists of words, figures.

    The first record with a field for the text ends the search, so that hardly anything is read
    twice.
    """
    if file.format not in OF_RECORDS:
        return False
    nothing = True
    try:
        for item in reader_of(file)(file, replace(options, meter=Meter())):
            nothing = False
            if isinstance(item, Record):
                if has_text_field(item, names):
                    return False
            elif file.format != "json" or item.incomplete:
                return False
    except Exception:  # noqa: BLE001  # reading it in earnest will say what is wrong
        return False
    return not nothing


def _read_file(file: InputFile, options: Options, skipped: Skipped) -> Items:
    nothing = True
    try:
        for item in reader_of(file)(file, options):
            nothing = False
            yield item
        if nothing:
            raise EmptyFile("the file holds no records")
        return
    except EmptyFile as error:
        if file.found:
            skipped.empty.append(file.name)
            return
        reason = str(error)
    except (RecordError, MissingExtra) as error:
        reason = str(error)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = f"the gzip data is cut short or broken ({error}); nothing after this was read"
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror or error}"
    except Exception as error:  # one bad file must not keep the others from being read
        log.warning("reading %s as %s failed", file.name, file.format, exc_info=True)
        reason = f"the file cannot be read as {file.format}: {error} ({type(error).__name__})"
    yield file.rejection(reason, incomplete=True)


def reader_of(file: InputFile) -> Reader:
    """The reader of a format; each brings its own library along, so none loads for nothing."""
    match file.format:
        case "jsonl":
            from ingest.read.jsonl import read_jsonl

            return read_jsonl
        case "json":
            from ingest.read.json_file import read_json

            return read_json
        case "csv" | "tsv":
            from ingest.read.table import read_table

            return read_table
        case "markdown":
            from ingest.read.markdown import read_markdown

            return read_markdown
        case "html":
            from ingest.read.text import read_html

            return read_html
        case "pdf":
            from ingest.read.office import read_pdf

            return read_pdf
        case "docx":
            from ingest.read.office import read_docx

            return read_docx
        case _:
            from ingest.read.text import read_plain

            return read_plain
