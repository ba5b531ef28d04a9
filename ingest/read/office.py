"""PDF and Word documents (.docx): one document a file, read by a library that may be missing."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import TYPE_CHECKING, Any

from ingest.read.source import InputFile, Options, open_bytes, too_large
from ingest.read.text import whole_file
from ingest.record import Record, RecordError, Section
from search.errors import MissingExtra

if TYPE_CHECKING:
    from docx.document import Document as Docx

Content = tuple[str, list[Section]]
# A line break inside a paragraph is only where the paper ended.
LINE_BREAK = re.compile(r"(?<!\n)[ \t]*\n[ \t]*(?!\n)")
TITLES = ("Title", "Heading 1")
W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
PARAGRAPH, TABLE = f"{W}p", f"{W}tbl"
# The runs of a paragraph; none that is deleted or was moved away, in a text box, or a reading aid.
RUNS = ".//w:r[not(ancestor::w:del|ancestor::w:moveFrom|ancestor::w:txbxContent|ancestor::w:rt)]"


def read_pdf(file: InputFile, options: Options) -> Iterator[Record]:
    """A section a page; the title is the PDF's own, if it has one.

    Raises MissingExtra when pypdf is not installed.
    """
    try:
        from pypdf import PdfReader
        from pypdf.errors import FileNotDecryptedError
    except ImportError:
        raise MissingExtra("pypdf", "pdf", f"reading {file.name}") from None
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it comments on every oddity it mends

    def content(stream: BufferedReader) -> Content:
        try:
            reader = PdfReader(stream)
            title = (reader.metadata.title if reader.metadata else None) or ""
            pages, size = [], 0
            for number, page in enumerate(reader.pages, 1):
                pages.append(Section(LINE_BREAK.sub(" ", page.extract_text()), page=number))
                size += len(pages[-1].text)
                if size > options.max_record_bytes:
                    raise RecordError(too_large("text", options.max_record_bytes))
        except FileNotDecryptedError:
            raise RecordError("the PDF is encrypted; save a copy without a password") from None
        return str(title), pages

    title, pages = _parsed(file, options, content)
    if not any(page.text.strip() for page in pages):
        raise RecordError("the PDF holds no text; scanned pages need text recognition (OCR) first")
    yield whole_file(file, title, pages)


def read_docx(file: InputFile, options: Options) -> Iterator[Record]:
    """Paragraphs and tables in their order; the title is the file's property, else its heading.

    Raises MissingExtra without python-docx.
    """
    try:
        from docx import Document as open_docx
    except ImportError:
        raise MissingExtra("python-docx", "docx", f"reading {file.name}") from None

    def content(stream: BufferedReader) -> Content:
        document = open_docx(stream)
        return _docx_title(document), list(_docx_sections(document))

    yield whole_file(file, *_parsed(file, options, content))


def _parsed(
    file: InputFile, options: Options, content: Callable[[BufferedReader], Content]
) -> Content:
    with open_bytes(file, options) as stream:
        try:
            return content(stream)
        except RecordError:
            raise
        except Exception as error:  # noqa: BLE001  # a broken file can fail anywhere in the parser
            kind = file.format.upper()
            raise RecordError(f"broken {kind}: {error} ({type(error).__name__})") from None


def _docx_title(document: Docx) -> str:
    if document.core_properties.title.strip():
        return str(document.core_properties.title)
    paragraphs = (block for block in _blocks(document.element.body) if block.tag == PARAGRAPH)
    headings = (_text(p) for p in paragraphs if _style(document, p) in TITLES)
    return next(filter(str.strip, headings), "")


def _docx_sections(document: Docx) -> Iterator[Section]:
    heading = ""
    for block in _blocks(document.element.body):
        text = _text(block)
        if block.tag == PARAGRAPH and _style(document, block).startswith(("Heading", "Title")):
            heading = text.strip()
        yield Section(text, heading=heading)


def _blocks(parent: Any) -> Iterator[Any]:
    """The paragraphs and tables of a body or cell, also those in content controls."""
    return _below(parent, PARAGRAPH, TABLE)


def _below(parent: Any, *tags: str) -> Iterator[Any]:
    """Elements with these tags in their order, whatever wraps them; not those inside each other."""
    for child in parent:
        if child.tag in tags:
            yield child
        elif not _is_contents(child):
            yield from _below(child, *tags)


def _is_contents(element: Any) -> bool:
    """Whether this is a table of contents, which repeats the headings, made by Word."""
    gallery = element.find(f"{W}sdtPr/{W}docPartObj/{W}docPartGallery")
    return gallery is not None and gallery.get(f"{W}val") == "Table of Contents"


def _text(block: Any) -> str:
    """A paragraph's runs; a table's rows, in which each cell comes once, however wide it is."""
    if block.tag == PARAGRAPH:
        return "".join(run.text for run in block.xpath(RUNS))
    rows = (_below(row, f"{W}tc") for row in _below(block, f"{W}tr"))
    return "\n".join(" ".join("\n".join(map(_text, _blocks(cell))) for cell in row) for row in rows)


def _style(document: Docx, paragraph: Any) -> str:
    from docx.text.paragraph import Paragraph

    style = Paragraph(paragraph, document).style
    return (style.name if style else None) or ""
