"""Plain text and web pages: one document a file."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from ingest.markup import read_page
from ingest.read.source import (
    InputFile,
    Options,
    marked_encoding,
    read_bytes,
    read_text,
    without_nul,
)
from ingest.read.walk import SUFFIXES
from ingest.record import EmptyFile, Record, RecordError, Section, WholeFile

PARAGRAPH_END = re.compile(r"\n(?:[ \t\f\v]*\n)+")
# A heading in reStructuredText, which people also write without having heard of it.
_LINE = r"""([=~^"'`#*+_:.-])\{}{{2,}}[ \t]*+"""
UNDERLINED = re.compile(
    rf"\s*+(?:{_LINE.format(1)}\n)?[ \t]*+(\S[^\n]*)\n{_LINE.format(3)}(?:\n|\Z)"
)
# In Org and AsciiDoc stars or equals signs stand before a heading.
STARRED = re.compile(r"\s*+(?:#\+title:|\*+|={1,6})[ \t]+(\S[^\n]*)", re.I)
STARRED_SUFFIXES = (".org", ".adoc", ".asciidoc")
# How a page says what it is written in: within its first bytes, where the names are ASCII.
DECLARED = re.compile(
    rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w:.-]+)|<\?xml[^>]+encoding\s*=\s*["']([\w:.-]+)""",
    re.I,
)
DECLARED_WITHIN = 4096
# What browsers take a declared encoding for; and those that they know, as Python calls them.
AS_BROWSERS_DO = {
    **dict.fromkeys(("ascii", "iso8859-1"), "cp1252"),
    "iso8859-9": "cp1254",
    **dict.fromkeys(("iso8859-11", "tis-620"), "cp874"),
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
KNOWN = re.compile(r"cp(125\d|8\d\d|9\d\d)|iso8859-\d+|iso2022_jp|koi8-\w|mac-\w+|gb18030|euc_jp")


def read_plain(file: InputFile, options: Options) -> Iterator[Record]:
    """A section a paragraph; the title is a heading that it begins with, else the file's name."""
    sections = list(_with_headings(file, cut(read_text(file, options), PARAGRAPH_END)))
    title = next((part.heading for part in sections if part.text.strip()), "")
    yield whole_file(file, title, sections)


def read_html(file: InputFile, options: Options) -> Iterator[Record]:
    """Decoded as browsers do; the title is its <title>, else its first heading."""
    yield whole_file(file, *read_page(_decode(read_bytes(file, options), options)))


def whole_file(
    file: InputFile,
    title: str,
    sections: Iterable[Section],
    metadata: Mapping[str, Any] | None = None,
) -> Record:
    """The record of a file that is one document; its title falls back to the file's name.

    The suffix stays where it says something, as in walk.py or README.Debian.
    """
    kept = tuple(section for section in sections if section.text.strip())
    if not kept:
        raise EmptyFile("there is no text in this file")
    name = PurePath(PurePath(file.name).name.removesuffix(".gz"))
    has_format = name.suffix.lower() in SUFFIXES
    fallback = name.stem if has_format else name.name
    whole = WholeFile(file.id, title if title.strip() else fallback, kept)
    return Record(metadata or {}, file.name, None, whole, file.source())


def cut(text: str, gap: re.Pattern[str], line: int = 1) -> Iterator[Section]:
    """A section for each part between the gaps, and the line of its first word."""
    ends = [*(match.span() for match in gap.finditer(text)), (len(text), len(text))]
    start = 0
    for end, following in ends:
        part = text[start:end]
        blank = part[: len(part) - len(part.lstrip())].count("\n")
        yield Section(part, line + blank)
        line += text.count("\n", start, following)
        start = following


def _with_headings(file: InputFile, paragraphs: Iterable[Section]) -> Iterator[Section]:
    starred = file.name.lower().removesuffix(".gz").endswith(STARRED_SUFFIXES)
    heading = ""
    for part in paragraphs:
        if underlined := UNDERLINED.match(part.text):
            heading = underlined[2].strip()
        elif starred and (found := STARRED.match(part.text)):
            heading = found[1].strip()
        yield replace(part, heading=heading)


def _decode(data: bytes, options: Options) -> str:
    """A byte order mark is right, whatever else is said; then come --encoding and the page."""
    encoding = marked_encoding(data[:4]) or options.encoding or _declared(data) or "utf-8"
    # Browsers pass over the five bytes that cp1252 leaves undefined.
    errors = "ignore" if codecs.lookup(encoding).name == "cp1252" else "strict"
    try:
        return without_nul(data.decode(encoding, errors)).removeprefix("\ufeff")
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        raise RecordError(
            f"byte {at} is not valid {encoding}, which the page is taken to be in; "
            "name its real encoding, e.g. --encoding latin-1"
        ) from None


def _declared(data: bytes) -> str | None:
    match = DECLARED.search(data[:DECLARED_WITHIN])
    if match is None:
        return None
    try:
        name = codecs.lookup((match[1] or match[2]).decode()).name
    except (LookupError, UnicodeError):
        return None
    name = AS_BROWSERS_DO.get(name, name)
    # A declaration that can be read byte by byte cannot be in UTF-16, whatever it says.
    return name if KNOWN.fullmatch(name) or name in AS_BROWSERS_DO.values() else None
