"""Lists that word overlap cannot solve: answers without the query's words, others full of them.

Every teacher here falls for such pairs now and then, so these lists carry the label alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from training.lists import TrainingList
from training.phrasing import STOP_WORDS, most_asked, sentences, stem, words

KIND = "trap"

VEIL = 0.65
"""Chance that a content word of the query is struck from a veiled passage."""

VEILED, FORGED = 2, 3
"""Negatives of each list veiled as the answer is, and forged ones. The rest is real."""

SURE = 2.0
"""Score of the answer where all others have 0."""


def trap_lists(lists: Sequence[TrainingList], draw: random.Random) -> Iterator[TrainingList]:
    """One trap list from each list whose query and passages have enough words.

    The passages are cut to one to three sentences around the words of the query. Veiling some
    negatives too keeps the model from taking gaps in a text for a sign of the answer.
    """
    elsewhere = [s for one in lists for p in one.passages[-2:] for s in sentences(p)[:3]]
    for one in lists:
        asked = [w for w in words(one.query) if w.lower() not in STOP_WORDS]
        if not 2 <= len(asked) <= 12 or len(elsewhere) < FORGED:
            continue
        cut = [_window(passage, asked, draw) for passage in one.passages]
        negatives = cut[1:]
        draw.shuffle(negatives)
        count = len(negatives)
        for i in range(min(VEILED, count)):
            negatives[i] = _veil(negatives[i], asked, draw)
        for i in range(VEILED, min(VEILED + FORGED, count)):
            negatives[i] = _forge(draw.choice(elsewhere), asked, draw)
        answer = _veil(cut[0], asked, draw) if draw.random() < 0.8 else cut[0]
        yield TrainingList(one.query, KIND, (answer, *negatives), (SURE, *[0.0] * count))


def _window(passage: str, asked: Sequence[str], draw: random.Random) -> str:
    """One to three sentences of the text, from the one that shares most words with the query."""
    text = passage.split("\n", 1)[-1]
    parts = sentences(text)
    if not parts:
        return text[:300]
    best = most_asked(parts, frozenset(map(stem, asked)))
    first = max(0, best - draw.randint(0, 1))
    return " ".join(parts[first : best + draw.randint(1, 2)])


def _veil(text: str, asked: Sequence[str], draw: random.Random) -> str:
    """The text with words of the query struck out, or made a pronoun."""
    hidden = {stem(word) for word in asked if draw.random() < VEIL}

    def strike(match: re.Match[str]) -> str:
        known = stem(match[0]) in hidden
        return draw.choice(("", "it", "this")) if known else match[0]

    return re.sub(r"[A-Za-z][A-Za-z0-9-]+", strike, text)


def _forge(sentence: str, asked: Sequence[str], draw: random.Random) -> str:
    """A foreign sentence in which words of the query stand in place of its own."""
    parts = sentence.split()
    replaceable = [i for i, part in enumerate(parts) if part.strip(".,;").lower() not in STOP_WORDS]
    run = list(asked)
    if draw.random() < 0.5:
        draw.shuffle(run)
    chosen = sorted(draw.sample(replaceable, min(len(replaceable), len(run))))
    if draw.random() < 0.5 and len(parts) > len(run):  # side by side, as in the query
        first = draw.randrange(len(parts) - len(run))
        chosen = list(range(first, first + len(run)))
    for i, word in zip(chosen, run, strict=False):
        parts[i] = word
    return " ".join(parts)
