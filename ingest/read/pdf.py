"""A PDF: one document a file."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from ingest.read.source import Options, Source, open_bytes, too_large
from ingest.read.text import whole_file
from ingest.record import Record, RecordError
from search.errors import MissingExtra

# A line break inside a paragraph is only where the paper ended.
LINE_BREAK = re.compile(r"(?<!\n)[ \t]*\n[ \t]*(?!\n)")


def read_pdf(source: Source, options: Options) -> Iterator[Record]:
    """Its pages' text, a paragraph break between pages; the title is the PDF's own, if it has one.

    Raises MissingExtra when pypdf is not installed.
    """
    try:
        from pypdf import PdfReader
        from pypdf.errors import FileNotDecryptedError
    except ImportError:
        raise MissingExtra("pypdf", "pdf", f"reading {source.name}") from None
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it comments on every oddity it mends
    with open_bytes(source, options) as stream:
        try:
            reader = PdfReader(stream)
            title = (reader.metadata.title if reader.metadata else None) or ""
            pages, size = [], 0
            for page in reader.pages:
                pages.append(LINE_BREAK.sub(" ", page.extract_text()))
                size += len(pages[-1])
                if size > options.max_record_bytes:
                    raise RecordError(too_large("text", options.max_record_bytes))
        except FileNotDecryptedError:
            raise RecordError("the PDF is encrypted; save a copy without a password") from None
        except (RecordError, KeyboardInterrupt):
            raise
        except Exception as error:  # noqa: BLE001  # a broken file can fail anywhere in the parser
            raise RecordError(f"broken PDF: {error} ({type(error).__name__})") from None
    if not any(map(str.strip, pages)):
        raise RecordError("the PDF holds no text; scanned pages need text recognition (OCR) first")
    yield whole_file(source, {"title": str(title), "text": "\n\n".join(pages)}, plain=True)
