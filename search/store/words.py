"""The words of a text as both stores index them, in scripts with and without spaces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# Lucene's English list, which Weaviate uses too. Quality is the same without them (SciFact nDCG@10
# 0.687 both ways) at half the time. Dropped from queries only, so that a query of nothing else
# ("The Who") still finds its words.
_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there
these they this to was will with
"""
STOP_WORDS = {"en": frozenset(_STOP_WORDS.split())}

# Scripts that write words without spaces between them (and Korean, which joins particles to
# words): Thai and Lao, Burmese, Hangul, Khmer, kana, Han.
UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff々\u3040-\u30ff\u3130-\u318f"
    r"\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_LATIN_ACCENT = re.compile(r"(?<=[A-Za-z])[\u0300-\u036f]+")


def indexed_words(text: str) -> str:
    """For an index that cuts at spaces: lower case, without accents; of unspaced scripts each
    character and each pair of neighbours, 高血压 → 高 高血 血 血压 压.
    """
    return " ".join(word for word in _plain_words(text) for word in _characters_and_pairs(word))


def query_words(query: str, language: str) -> str:
    """What to look for in such an index: each word once, without stop words if others are left."""
    words = without_stop_words(_plain_words(query), language)
    return " ".join(term for word in words for term in _terms(word))


def without_stop_words(words: Iterable[str], language: str) -> list[str]:
    """Each word once; without the commonest of the language, where others are left."""
    words = list(dict.fromkeys(words))
    return [word for word in words if word not in STOP_WORDS.get(language, ())] or words


def normalized(text: str) -> str:
    """NFKC makes one of full-width and plain letters, of half-width and plain kana."""
    return unicodedata.normalize("NFKC", text)


def split_words(text: str) -> list[str]:
    """Runs of letters, digits and marks."""
    return "".join(c if _in_word(c) else " " for c in text).split()


def pairs(run: str) -> list[str]:
    """Overlapping pairs of characters; the last one stands alone."""
    return [run[i : i + 2] for i in range(len(run))]


def _plain_words(text: str) -> list[str]:
    """Lower-case words without accents, cut where an unspaced script begins or ends."""
    decomposed = unicodedata.normalize("NFKD", normalized(text).lower())
    plain = unicodedata.normalize("NFC", _LATIN_ACCENT.sub("", decomposed))
    spaced = UNSPACED.sub(lambda run: f" {run[0]} ", plain)
    return split_words(spaced)


def _characters_and_pairs(word: str) -> list[str]:
    if not UNSPACED.fullmatch(word):
        return [word]
    return [part for i in range(len(word)) for part in dict.fromkeys((word[i], word[i : i + 2]))]


def _terms(word: str) -> list[str]:
    if len(word) == 1 or not UNSPACED.fullmatch(word):
        return [word]
    return pairs(word)[:-1]


def _in_word(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LNM" or category == "Co"
