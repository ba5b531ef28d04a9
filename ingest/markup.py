"""HTML to text, through Beautiful Soup: blocks stay apart, what is inline stays joined."""

from __future__ import annotations

import re
import warnings
from html import unescape

from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning, Tag, XMLParsedAsHTMLWarning

from ingest.record import RecordError

PARAGRAPHS = [
    *("address", "article", "aside", "blockquote", "center", "dd", "details", "div", "dl", "dt"),
    *("fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "ul"),
]
LINES = ["br", "tr", "caption", "legend", "option", "summary"]
CELLS = ["td", "th"]
INVISIBLE = ["script", "style", "template", "noscript", "head", "title", "svg", "iframe"]
INLINE = [
    *("a", "abbr", "b", "big", "body", "cite", "code", "del", "dfn", "em", "font", "html", "i"),
    *("img", "ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub"),
    *("sup", "tbody", "tfoot", "thead", "tt", "u", "var"),
]

_NAME = "|".join([*PARAGRAPHS, *LINES, *CELLS, *INVISIBLE, *INLINE])
_ATTRIBUTE = r"""\s+[\w:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+)"""
# Strict on purpose: "<b and c>" and "p<0.05" are no tags, and their text must not be lost.
_TAG = rf"(?:/(?:{_NAME})\s*>|(?:{_NAME})(?:{_ATTRIBUTE})*\s*/?>|!--|!doctype\b)"
_IS_MARKUP = re.compile(rf"</(?:{_NAME})\s*>|<(?:br|hr|p|li|img)(?:{_ATTRIBUTE})*\s*/?>", re.I)
_LOOSE_ANGLE = re.compile(rf"<(?!{_TAG})", re.I)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.I)
_LOOSE_AMPERSAND = re.compile(rf"&(?!{_ENTITY.pattern[1:]})", re.I)


def strip_markup(text: str) -> str:
    """Text without its tags and entities, if it has any; 'a < b' and 'R&D' stay as they are."""
    if _IS_MARKUP.search(text):
        guarded = _LOOSE_AMPERSAND.sub("&amp;", _LOOSE_ANGLE.sub("&lt;", text))
        return _text(_soup(guarded))
    return _ENTITY.sub(lambda match: unescape(match[0]), text)


def page(html: str, headings: str = "h1") -> tuple[str, str]:
    """(title, text) of a web page: its <title>, else its first heading."""
    soup = _soup(html)
    found = soup.title or soup.select_one(headings)
    return (found.get_text() if found else ""), _text(soup)


def _soup(html: str) -> BeautifulSoup:
    with warnings.catch_warnings():
        # Both warn of text that hardly looks like HTML, which users' fields may well hold.
        warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        try:
            return BeautifulSoup(html, "html.parser")
        except (RecursionError, AssertionError, ValueError) as error:
            raise RecordError(f"the HTML cannot be parsed: {error}") from None


def _text(soup: BeautifulSoup) -> str:
    for tag in soup.find_all(INVISIBLE):
        tag.decompose()
    for names, gap in ((PARAGRAPHS, "\n\n"), (LINES, "\n"), (CELLS, " ")):
        for tag in soup.find_all(names):
            assert isinstance(tag, Tag)
            tag.insert_before(gap)
            tag.append(gap)
    return soup.get_text()
