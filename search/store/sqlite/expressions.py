"""What a user asks, as SQLite takes it: words as a MATCH of FTS5, conditions as SQL over JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from search.store.words import UNSPACED, normalized, pairs, split_words, without_stop_words
from search.types import Condition, Scalar

Parameter = str | int | float

# How often a word in the title or passage counts (arguments of bm25(), in column order).
# nDCG@10 of BM25 alone with titles at 0.5, 1, 2: medquad dev 0.532, 0.555, 0.583.
TITLE_WEIGHT, TEXT_WEIGHT = 2.0, 1.0

# Porter's stemmer is for English alone: of other languages BM25 compares the words as they are.
# Marks (M*) belong to words, as in Hindi vowel signs.
_TOKENIZER = "unicode61 remove_diacritics 2 categories 'L* N* M* Co'"
_MEMBER = "SELECT 1 FROM json_each(metadata, ?)"
_LARGEST_INTEGER = 2**63 - 1


def index_text(text: str) -> str:
    """The form that is indexed: NFKC, unspaced scripts as overlapping pairs, 高血压 → 高血 血压 压.

    The last character stands alone, so that every character starts exactly one word: a query of
    one character is found by prefix.
    """
    return UNSPACED.sub(lambda run: f" {' '.join(pairs(run[0]))} ", normalized(text))


def tokenizer(language: str) -> str:
    """How FTS5 cuts a text of this language into words."""
    return f"porter {_TOKENIZER}" if language == "en" else _TOKENIZER


def match_terms(query: str, language: str = "en") -> list[str]:
    """The query's words, each once and quoted, as FTS5 takes them; none when it has no word.

    Quoted words hold letters, digits and marks only: no punctuation can act as FTS5 syntax.
    """
    words = without_stop_words(split_words(normalized(query).lower()), language)
    return [term for word in words for term in _terms(word)]


def where_sql(conditions: Sequence[Condition]) -> tuple[str, list[Parameter]]:
    """A boolean expression on `documents`, with its parameters; all conditions must hold.

    A value is compared with its own kind only (numbers, text, true/false) and a list matches when
    any member does. `!=` is the complement of `=` among the documents that have the field; a
    document without the field matches nothing.
    """
    clauses: list[str] = []
    parameters: list[Parameter] = []
    for condition in conditions:
        # A JSON string is also a quoted label in a JSON path: any field name is safe.
        path = f"$.{json.dumps(condition.field)}"
        kinds, value = _comparable(condition.value)
        operator = "=" if condition.operator == "!=" else condition.operator
        clause = f"EXISTS ({_MEMBER} WHERE type IN {kinds} AND value {operator} ?)"
        if condition.operator == "!=":
            clause = f"EXISTS ({_MEMBER}) AND NOT {clause}"
            parameters.append(path)
        clauses.append(clause)
        parameters += [path, value]
    return " AND ".join(clauses), parameters


def _terms(word: str) -> list[str]:
    terms = []
    for part in UNSPACED.sub(lambda run: f" {run[0]} ", word).split():
        if not UNSPACED.fullmatch(part):
            terms.append(f'"{part}"')
        elif len(part) == 1:
            terms.append(f'"{part}"*')
        else:
            terms.extend(f'"{pair}"' for pair in pairs(part)[:-1])
    return terms


def _comparable(value: Scalar) -> tuple[str, Parameter]:
    """The JSON types that compare with this value, and the value as SQLite takes it."""
    if isinstance(value, bool):
        return "('true', 'false')", int(value)
    if isinstance(value, str):
        return "('text')", value
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        value = float(value)  # SQLite reads such a number in JSON as a float, too
    return "('integer', 'real')", value
