"""The sentence that decides: which part of a passage answers, found by reading each alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from search.types import Span

MIN_BYTES = 20
"""A shorter piece (a heading, "No.") goes with the sentence after it. Bytes of UTF-8, because a
Chinese character, which has three, says as much as some letters."""


class Sentence(NamedTuple):
    """One sentence: the number of its passage, and its characters there."""

    passage: int
    span: Span


def sentences_of(passages: Sequence[str], language: str) -> list[Sentence]:
    """The sentences of all passages, in order; none of a passage that is a single sentence.

    `language` (ISO 639-1) says which abbreviations do not end one.
    """
    found = []
    for number, passage in enumerate(passages):
        spans = _spans(passage, language)
        if len(spans) > 1:
            found += [Sentence(number, span) for span in spans]
    return found


def best_sentences(
    sentences: Sequence[Sentence], logits: Sequence[float], passages: Sequence[str]
) -> list[Span | None]:
    """For each passage its best sentence: the whole of a single one, None where not all are scored.

    `logits` may be shorter than `sentences`: those that were read in time.
    """
    best: dict[int, tuple[float, Span]] = {}
    for (number, span), logit in zip(sentences, logits, strict=False):
        if number not in best or logit > best[number][0]:
            best[number] = (logit, span)
    unread = {number for number, _ in sentences[len(logits) :]}
    return [
        None if i in unread or not passage else best[i][1] if i in best else (0, len(passage))
        for i, passage in enumerate(passages)
    ]


def _spans(passage: str, language: str) -> list[Span]:
    """Sentences without the white space around them."""
    from sentencex import get_sentence_boundaries

    spans: list[Span] = []
    start = 0
    for sentence in get_sentence_boundaries(language, passage):
        end = sentence["end_index"]
        text = passage[start:end]
        if len(text.strip().encode(errors="replace")) >= MIN_BYTES:
            left = start + len(text) - len(text.lstrip())
            spans.append((left, left + len(text.strip())))
            start = end
    rest = passage[start:].rstrip()
    if rest and spans:
        spans[-1] = (spans[-1][0], len(passage.rstrip()))
    elif rest:
        spans.append((start + len(rest) - len(rest.lstrip()), start + len(rest)))
    return spans
