"""Text for SQLite's FTS5: what is indexed, and how a user's words become a MATCH expression."""

from __future__ import annotations

import re
import unicodedata

# How often a word in the title or passage counts (arguments of bm25(), in column order).
# nDCG@10 of BM25 alone with titles at 0.5, 1, 2: medquad dev 0.532, 0.555, 0.583.
TITLE_WEIGHT, TEXT_WEIGHT = 2.0, 1.0

# Lucene's English list, which Weaviate uses too. Quality is the same without them (SciFact nDCG@10
# 0.687 both ways) at half the time. Dropped from queries only, so that a query of nothing else
# ("The Who") still finds its words.
_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there
these they this to was will with
"""
STOP_WORDS = {"en": frozenset(_STOP_WORDS.split())}

# Porter's stemmer is for English alone: of other languages BM25 compares the words as they are.
# Marks (M*) belong to words, as in Hindi vowel signs.
_TOKENIZER = "unicode61 remove_diacritics 2 categories 'L* N* M* Co'"

# Scripts that write words without spaces between them (and Korean, which joins particles to
# words): Thai and Lao, Burmese, Hangul, Khmer, kana, Han.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff々\u3040-\u30ff\u3130-\u318f"
    r"\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def index_text(text: str) -> str:
    """The form that is indexed: NFKC, unspaced scripts as overlapping pairs, 高血压 → 高血 血压 压.

    The last character stands alone, so that every character starts exactly one word: a query of
    one character is found by prefix.
    """
    return _UNSPACED.sub(lambda run: f" {' '.join(_pairs(run[0]))} ", _normalised(text))


def tokenizer(language: str) -> str:
    """How FTS5 cuts a text of this language into words."""
    return f"porter {_TOKENIZER}" if language == "en" else _TOKENIZER


def match_expression(query: str, language: str = "en") -> str:
    """The query's words, each once and quoted, joined by OR; empty when it has no word.

    Quoted words hold letters, digits and marks only: no punctuation can act as FTS5 syntax.
    """
    words = list(dict.fromkeys(_words(_normalised(query).lower())))
    kept = [word for word in words if word not in STOP_WORDS.get(language, ())] or words
    return " OR ".join(term for word in kept for term in _terms(word))


def _terms(word: str) -> list[str]:
    terms = []
    for part in _UNSPACED.sub(lambda run: f" {run[0]} ", word).split():
        if not _UNSPACED.fullmatch(part):
            terms.append(f'"{part}"')
        elif len(part) == 1:
            terms.append(f'"{part}"*')
        else:
            terms.extend(f'"{pair}"' for pair in _pairs(part)[:-1])
    return terms


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run))]


def _normalised(text: str) -> str:
    """NFKC makes one of full-width and plain letters, of half-width and plain kana."""
    return unicodedata.normalize("NFKC", text)


def _words(text: str) -> list[str]:
    """Runs of the character classes that the index's tokenizer takes for words."""
    return "".join(c if _in_word(c) else " " for c in text).split()


def _in_word(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LNM" or category == "Co"
