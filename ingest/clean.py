"""Cleaning text: markup, invisible characters, Unicode form, whitespace. Ids never come here."""

from __future__ import annotations

import re
from unicodedata import normalize

from ingest.markup import strip_markup

LINE_ENDS = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
SURROGATES = re.compile(r"[\ud800-\udfff]")
# Controls, soft hyphens, zero-width spaces and joins, bidi marks, byte order marks, tag characters.
# (Not the separators \x1c-\x1f: they part words, and are squeezed with the whitespace.)
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
# Joiners spell words in Arabic and Indic scripts, and one emoji out of several; they go elsewhere.
STRAY_JOINERS = re.compile(
    "(?<![\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff\u200d\u2600-\u27bf\ufb50-\ufdff"
    "\ufe0f\ufe70-\ufefc\U0001f000-\U0001faff])[\u200c\u200d]+"
)
# A single space stays as it is: most of a text is words with one between them.
SPACES = re.compile(r"[^\S\n ][^\S\n]*| [^\S\n]+")
AROUND_LINE_END = re.compile(r" ?\n ?")
PARAGRAPH_BREAK = re.compile(r"\n{3,}")


def clean_text(text: str, plain: bool = False) -> str:
    """Lines and paragraphs stay; `plain` says that tags and entities in it are meant literally."""
    text = SURROGATES.sub("\ufffd", text)
    if not plain:
        text = strip_markup(text)
    text = INVISIBLE.sub("", LINE_ENDS.sub("\n", text))
    text = normalize("NFC", STRAY_JOINERS.sub("", text))
    text = AROUND_LINE_END.sub("\n", SPACES.sub(" ", text))
    return PARAGRAPH_BREAK.sub("\n\n", text).strip()


def clean_title(title: str, plain: bool = False) -> str:
    """As clean_text, on one line."""
    return " ".join(clean_text(title, plain).split())
