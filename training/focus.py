"""What a short input keeps of a long passage: its title, and the sentences that the query is about.

The search reads a long text to its end, in windows, and takes the best. Cut at its beginning for
training, a passage often loses what makes it the answer, while its label stays.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from tokenizers import Encoding

from training.phrasing import STOP_WORDS, most_asked, stem, words

LONGEST_TITLE = 300
"""Characters of a first line that is taken for a title."""

_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s)|\n|$)", re.DOTALL)


def asked(query: str) -> frozenset[str]:
    """The stems of the query's content words."""
    return frozenset(stem(word) for word in words(query) if word.lower() not in STOP_WORDS)


def focused(text: str, tokens: Encoding, stems: frozenset[str], room: int) -> list[int]:
    """At most `room` token ids of the passage, of which the title is a third at most.

    Behind the title comes a run of the text that begins with a sentence: the one with most of
    `stems` or, where both fit, the one before it; earlier where the text ends too soon.
    """
    ids: list[int] = tokens.ids
    if len(ids) <= room:
        return ids
    starts = [start for start, _ in tokens.offsets]
    body = text.find("\n", 0, LONGEST_TITLE) + 1
    title = ids[: min(bisect_left(starts, body), room // 3)]
    spans = [match.span() for match in _SENTENCE.finditer(text, body)]
    if not spans:  # a title and nothing else
        return ids[:room]
    bounds = [bisect_left(starts, start) for start, _ in spans] + [len(ids)]
    size = room - len(title)
    first = best = most_asked([text[start:end] for start, end in spans], stems)
    if first and bounds[best + 1] - bounds[first - 1] <= size:
        first -= 1
    while first and len(ids) - bounds[first - 1] <= size:
        first -= 1
    return [*title, *ids[bounds[first] : bounds[first] + size]]
