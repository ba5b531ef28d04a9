"""Which writing a model can read: the scripts that its vocabulary has words of, not letters only.

An English vocabulary has each letter of Cyrillic and some hundred Chinese characters, too. A model
that gets a text in these pieces has never learnt what they mean, and its scores for it are noise.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

LEAST = {"CJK": 2000}
LEAST_OTHERS = 150
"""Tokens of a script that a vocabulary has which was made for it. all-MiniLM's has 488 Chinese
characters and of no other foreign script more than 94 tokens; bert-base-chinese has 7,000
characters, and multilingual vocabularies have hundreds to thousands of each of their scripts."""
ALWAYS = "LATIN"
UNKNOWN = "UNKNOWN"
NAMES = {"CJK": "Chinese characters", UNKNOWN: "signs unknown to it"}
GREEK_SIGNS = frozenset("αβγδεζηθικλμνξοπρστυφχψωΓΔΘΛΞΠΣΦΨΩ")
"""Alone they are read: English texts have them, as in "β blockers" and "Δt"."""
MIN_LOST = 0.5


def script(letter: str) -> str | None:
    """ "CYRILLIC" for "ж"; None for what is no letter, or of no script, as "ー" is."""
    if unicodedata.category(letter) not in ("Lu", "Ll", "Lt", "Lo"):
        return None
    return unicodedata.name(letter, UNKNOWN).replace("-", " ").split()[0]


def scripts(text: str) -> set[str]:
    """The scripts of a text's letters; that of "𝐱" is that of "x"."""
    return {found for letter in unicodedata.normalize("NFKC", text) if (found := script(letter))}


def read_by(vocabulary: Iterable[str]) -> frozenset[str]:
    """The scripts that a vocabulary has words of."""
    counts = Counter(name for token in vocabulary for name in scripts(token))
    enough = {n for n, count in counts.items() if count >= LEAST.get(n, LEAST_OTHERS)}
    return frozenset(enough | {ALWAYS})


def mostly_lost(words: Iterable[Sequence[tuple[str, bool]]], read: frozenset[str]) -> str | None:
    """What a model cannot read of a text, if that is half of its words or more: "Cyrillic letters".

    Each of `words` is cut as the model cuts it, into pieces, and says of each whether the
    vocabulary has it. Words without a letter, such as numbers and punctuation, do not count.
    """
    kinds: Counter[str] = Counter()
    lost, counted = 0.0, 0
    for pieces in words:
        alone = len(pieces) == 1 and pieces[0][0] in GREEK_SIGNS
        found = [None if alone else _lost(piece, known, read) for piece, known in pieces]
        missing = [name for name in found if name is not None]
        kinds.update(missing)
        lost += len(missing) / len(found)
        counted += bool(missing) or any(scripts(piece) for piece, _ in pieces)
    if not lost or lost < MIN_LOST * counted:
        return None
    name = kinds.most_common(1)[0][0]
    return NAMES.get(name, f"{name.title()} letters")


def _lost(piece: str, known: bool, read: frozenset[str]) -> str | None:
    """The script that is not read; UNKNOWN for a piece that the vocabulary lacks."""
    foreign = scripts(piece) - read
    return min(foreign, default=None if known else UNKNOWN)
