"""HTML to text in one pass: blocks stay apart, what is inline stays joined.

There is no tree, and nothing is searched to the end of the page again and again: the time grows
with the length of the page alone, however deep or broken its tags are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from ingest.record import Section

PARAGRAPHS = {
    *("address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div", "dl"),
    *("dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5"),
    *("h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "ul"),
}
LINES = {"br", "tr", "caption", "legend", "option", "summary"}
CELLS = {"td", "th"}
HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
INVISIBLE = {"script", "style", "template", "noscript", "title", "svg", "iframe"}
# Inside of these a browser sees no tags but the closing one.
RAW = {"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"}
INLINE = {
    *("a", "abbr", "b", "big", "cite", "code", "del", "dfn", "em", "font", "head", "html", "i"),
    *("img", "ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub"),
    *("sup", "tbody", "tfoot", "thead", "tt", "u", "var"),
}

_NAME = "|".join(sorted(PARAGRAPHS | LINES | CELLS | INVISIBLE | INLINE))
_ATTRIBUTE = r"""\s+[\w:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+)"""
# Strict on purpose: "<b and c>" and "p<0.05" are no tags, and their text must not be lost.
_KNOWN = rf"(?:/(?:{_NAME})\s*>|(?:{_NAME})(?:{_ATTRIBUTE})*\s*/?>|!--|!doctype\b)"
_IS_MARKUP = re.compile(rf"</(?:{_NAME})\s*>|<(?:br|hr|p|li|img)(?:{_ATTRIBUTE})*\s*/?>", re.I)
_LOOSE_ANGLE = re.compile(rf"<(?!{_KNOWN})", re.I)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.I)
_LOOSE_AMPERSAND = re.compile(rf"&(?!{_ENTITY.pattern[1:]})", re.I)

_OPENS = re.compile(r"<(?=/?[a-zA-Z]|[!?])")
# A ">" inside a quoted attribute value does not end the tag …
_TAG = re.compile(r"""</?([a-zA-Z][^\s/>]*+)(?:[^=>]|=\s*+(?:"[^"]*"|'[^']*')?+)*+>""")
# … unless the quote is never closed.
_TO_ANGLE = re.compile(r"</?([a-zA-Z][^\s/>]*+)[^>]*+>")
_CLOSING = re.compile(rf"</({'|'.join(sorted(RAW | INVISIBLE))})\b", re.I)
_SPACES = re.compile(r"\s+")


def strip_markup(text: str) -> str:
    """Text without its tags and entities, if it has any; 'a < b' and 'R&D' stay as they are."""
    if _IS_MARKUP.search(text):
        guarded = _LOOSE_AMPERSAND.sub("&amp;", _LOOSE_ANGLE.sub("&lt;", text))
        return "".join(shown for tag, shown in _shown(guarded, fold=False) if tag != "title")
    return _ENTITY.sub(lambda match: unescape(match[0]), text)


def read_page(html: str) -> tuple[str, list[Section]]:
    """(title, sections) of a web page: its <title>, else its first heading; a section a heading."""
    titles: list[str] = []
    sections: list[Section] = []
    heading, parts = "", list[str]()
    for tag, text in _shown(html, fold=True):
        if tag == "title":
            titles.append(text)
            continue
        if tag in HEADINGS:
            sections.append(Section("".join(parts), heading=heading))
            heading, parts = "", []
        parts.append(text)
        if tag[1:] in HEADINGS and not heading:
            heading = " ".join("".join(parts).split())
    sections.append(Section("".join(parts), heading=heading))
    first_heading = next((section.heading for section in sections if section.heading), "")
    return next(filter(str.strip, titles), first_heading), sections


def _shown(html: str, fold: bool) -> Iterator[tuple[str, str]]:
    """(tag, the gap it makes) for each tag, and ("", text) for text that a browser shows.

    The page's title comes as ("title", text). `fold`: line ends are spaces, except in <pre>.
    """
    hidden, depth, literal = "", 0, not fold
    for tag, text in _tokens(html):
        if hidden:
            if hidden == "title" and text:
                yield hidden, unescape(text)
            depth += (tag == hidden) - (tag == f"/{hidden}")
            hidden = hidden if depth else ""
        elif tag in INVISIBLE:
            hidden, depth = tag, 1
        elif tag:
            if fold and tag in ("pre", "/pre"):
                literal = tag == "pre"
            yield tag, _gap(tag.removeprefix("/"))
        else:
            yield "", unescape(text if literal else _SPACES.sub(" ", text))


def _gap(name: str) -> str:
    if name in PARAGRAPHS:
        return "\n\n"
    return "\n" if name in LINES else " " if name in CELLS else ""


def _tokens(html: str) -> Iterator[tuple[str, str]]:
    """("b", "") for <b>, ("/b", "") for </b>, and ("", text); comments are left out.

    What would hide the rest of the page, since it is never closed, is left out too.
    """
    last_angle, last_comment_end = html.rfind(">"), html.rfind("-->")
    last_closing = {match[1].lower(): match.start() for match in _CLOSING.finditer(html)}
    pattern, position = _TAG, 0
    while (opening := _OPENS.search(html, position)) and opening.start() < last_angle:
        start = opening.start()
        if start > position:
            yield "", html[position:start]
        if html[start + 1] in "!?":
            is_comment = html.startswith("<!--", start) and last_comment_end > start
            position = html.index("-->" if is_comment else ">", start + 2) + (
                3 if is_comment else 1
            )
            continue
        match = pattern.match(html, start)
        if match is None:  # a quote that is never closed
            pattern = _TO_ANGLE
            match = pattern.match(html, start)
            assert match is not None
        name, position = match[1].lower(), match.end()
        if html[start + 1] == "/":
            yield f"/{name}", ""
        elif name not in RAW | INVISIBLE:
            yield name, ""
        elif last_closing.get(name, -1) >= position and html[position - 2] != "/":
            yield name, ""
            if name in RAW:
                closing = re.compile(f"</{name}\\b", re.I).search(html, position)
                assert closing is not None
                yield "", html[position : closing.start()]
                position = closing.start()
    if position < len(html):
        yield "", html[position:]
