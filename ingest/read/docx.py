"""A Word document (.docx): one document a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ingest.read.source import Options, Source, open_bytes
from ingest.read.text import whole_file
from ingest.record import Record, RecordError
from search.errors import MissingExtra

if TYPE_CHECKING:
    from docx.document import Document as Docx


def read_docx(source: Source, options: Options) -> Iterator[Record]:
    """Paragraphs and tables in their order; the title is the file's property, else its heading.

    Raises MissingExtra without python-docx.
    """
    try:
        from docx import Document as open_docx
    except ImportError:
        raise MissingExtra("python-docx", "docx", f"reading {source.name}") from None
    with open_bytes(source, options) as stream:
        try:
            document = open_docx(stream)
            title, text = _title(document), "\n\n".join(_blocks(document))
        except Exception as error:  # noqa: BLE001  # a broken file can fail anywhere in the parser
            raise RecordError(f"broken DOCX: {error} ({type(error).__name__})") from None
    yield whole_file(source, {"title": title, "text": text}, plain=True)


def _title(document: Docx) -> str:
    if document.core_properties.title.strip():
        return str(document.core_properties.title)
    styles = ("Title", "Heading 1")
    headings = (p.text for p in document.paragraphs if p.style and p.style.name in styles)
    return next(filter(str.strip, headings), "")


def _blocks(document: Docx) -> Iterator[str]:
    from docx.text.paragraph import Paragraph

    for block in document.iter_inner_content():
        if isinstance(block, Paragraph):
            yield block.text
        else:
            yield "\n".join(" ".join(cell.text for cell in row.cells) for row in block.rows)
