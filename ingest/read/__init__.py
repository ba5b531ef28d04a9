"""Reading: every format becomes a stream of records and rejections."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator

from ingest.fields import FieldNames, missing_text
from ingest.read.source import InputFile, Options
from ingest.read.walk import Skipped, sources
from ingest.record import EmptyFile, Record, RecordError, Rejection
from search.errors import MissingExtra

Items = Iterator[Record | Rejection]
Reader = Callable[[InputFile, Options], Iterator[Record] | Items]
FEW = 10  # so many rejections can be mended one by one
OF_RECORDS = ("jsonl", "json", "csv", "tsv")
log = logging.getLogger(__name__)


def read(
    inputs: Iterable[str], options: Options, skipped: Skipped, names: FieldNames | None = None
) -> Items:
    """All records of all inputs, in order. A file that fails is rejected, the next one is read."""
    return read_files(sources(inputs, options, skipped), options, skipped, names)


def read_files(
    files: Iterable[InputFile | Rejection],
    options: Options,
    skipped: Skipped,
    names: FieldNames | None = None,
) -> Items:
    """All records of these files, as `read` gives them."""
    for source in files:
        if isinstance(source, Rejection):
            yield source
            continue
        before = options.meter.finished
        count, reason = _without_text(source, options, names or FieldNames())
        if count and source.found:
            skipped.without_text.append(source.name)
            skipped.unread.add(source.id)
        elif count > FEW:
            yield source.rejection(f"all {count:,} records: {reason}", incomplete=True)
        else:
            options.meter.finished = before  # what was only looked at is not done yet
            yield from _read_file(source, options, skipped)


def _without_text(file: InputFile, options: Options, names: FieldNames) -> tuple[int, str | None]:
    """(how many records, the reason) of a file in which no record has a field for the text, else 0.

    It holds settings, lists of words or figures, or its field has another name: one message for
    all of them. The first record with text ends the search, so hardly anything is read twice.
    """
    count, reason = 0, None
    if file.format not in OF_RECORDS or not file.id:  # a pipe can be read only once
        return 0, None
    try:
        for item in reader_of(file)(file, options):
            if isinstance(item, Record):
                missing = missing_text(item, names)
            else:  # a value that is no object is no record; a broken one may be
                missing = item.reason if file.format == "json" and not item.incomplete else None
            if missing is None:
                return 0, None
            count, reason = count + 1, reason or missing
    except Exception:  # noqa: BLE001  # _read_file will say what is wrong
        return 0, None
    return count, reason


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
