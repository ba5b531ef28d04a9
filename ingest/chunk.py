"""Cutting a document into passages that the embedding model reads whole."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Protocol

from sentencex import get_sentence_boundaries

from ingest.record import Cleaned, Mark
from search.types import Location, Passage

# Raise this when passages come out otherwise than before: stored documents are then cut anew.
VERSION = 1
# A tokenizer may read any run of characters as one (unknown) token, or as none.
MAX_TOKEN_LENGTH = 200
CUT = "…"


class Tokenizer(Protocol):
    """The embedding model's own tokens."""

    max_passage_tokens: int

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters (start, end) of each token."""


class Chunker:
    """Cuts at sentence ends where it can; neighbouring passages share up to `overlap` tokens."""

    def __init__(self, tokenizer: Tokenizer, overlap: int, language: str) -> None:
        self._tokenizer = tokenizer
        self.max_tokens = tokenizer.max_passage_tokens
        self.overlap = overlap
        self.language = language

    def fit_title(self, cleaned: Cleaned) -> Cleaned:
        """A title that takes more than half of a passage is cut; in full it then heads the text."""
        document = cleaned.document
        if self._fits(document.title):
            return cleaned
        short = self._cut_title(document.title)
        head = f"{document.title}\n\n"
        marks = (Mark(mark.start + len(head), mark.location) for mark in cleaned.marks)
        document = replace(document, title=short, text=head + document.text)
        return Cleaned(document, tuple(marks))

    def _fits(self, title: str) -> bool:
        """The sign of a cut is no part of the limit: what was cut fits when it comes back."""
        limit = self.max_tokens // 2 + title.endswith(CUT)
        return len(self._tokenizer.token_offsets(title)) <= limit

    def _cut_title(self, title: str) -> str:
        offsets = self._tokenizer.token_offsets(title)
        # Cut inside of a word, its beginning may be more tokens than it was before.
        for last in range(self.max_tokens // 2 - 1, 0, -1):
            short = title[: offsets[last][1]].rstrip() + CUT
            if self._fits(short):
                return short
        return title[: offsets[0][1]].rstrip() + CUT

    def passages(self, cleaned: Cleaned) -> tuple[Passage, ...]:
        """Passages that with the title line before each fit the model, covering all of the text."""
        title, text = cleaned.document.title, cleaned.document.text
        heading = self._tokenizer.token_offsets(f"{title}\n") if title else ()
        found = []
        for start, passage in self._cut(text, max(1, self.max_tokens - len(heading))):
            begin = start + len(passage) - len(passage.lstrip())
            if passage.strip():
                place = _location(text, cleaned.marks, begin)
                found.append(Passage(passage.strip(), place, begin))
        return tuple(found)

    def _cut(self, text: str, budget: int) -> Iterator[tuple[int, str]]:
        """(start, passage); by windows, so that a huge document's tokens never fill the memory."""
        size = 3 * budget * MAX_TOKEN_LENGTH
        position = 0
        while True:
            window = text[position : position + size]
            is_last = position + size >= len(text)
            starts = _token_starts(window, self._tokenizer.token_offsets(window))
            sentences = [s["start_index"] for s in get_sentence_boundaries(self.language, window)]
            first = 0
            # The tokens at the edge of a window may differ from those of the whole text.
            while len(starts) - first > (budget if is_last else 2 * budget):
                end = _end(window, starts, sentences, first, budget)
                yield position + starts[first], window[starts[first] : starts[end]]
                first = self._next(window, starts, sentences, first, end)
            if is_last:
                yield position + starts[first], window[starts[first] :]
                return
            position += starts[first]

    def _next(
        self, window: str, starts: list[int], sentences: list[int], first: int, end: int
    ) -> int:
        """Where the passage after [first, end) begins: a sentence, else a word, in the overlap."""
        low = end - min(self.overlap, (end - first) // 2)
        sentence = bisect_left(sentences, starts[low])
        if sentence < len(sentences) and sentences[sentence] < starts[end]:
            return bisect_left(starts, sentences[sentence])
        words = (i for i in range(low, end) if window[starts[i] - 1].isspace())
        return next(words, low)


def _location(text: str, marks: Sequence[Mark], start: int) -> Location | None:
    """Where the passage begins: at the last mark before it, and so many lines further on."""
    if not marks:
        return None
    mark = marks[max(0, bisect_right(marks, start, key=lambda mark: mark.start) - 1)]
    if mark.location.line is None:
        return mark.location
    further = text.count("\n", mark.start, start)
    return replace(mark.location, line=mark.location.line + further)


def _token_starts(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Where each token begins; what lies between two tokens belongs to the first of them."""
    bounds = [0, *(start for start, _ in offsets[1:]), len(text)]
    starts: list[int] = []
    for start, end in pairwise(bounds):
        starts.append(start)
        starts.extend(range(start + MAX_TOKEN_LENGTH, end, MAX_TOKEN_LENGTH))
    return starts


def _end(window: str, starts: list[int], sentences: list[int], first: int, budget: int) -> int:
    """The token before which to cut: the last sentence end that fits, else word end, else token."""
    hard = first + budget
    sentence = sentences[bisect_right(sentences, starts[hard]) - 1]
    # A cut too near the start would leave a scrap, such as a heading alone.
    if sentence > starts[first + budget // 4]:
        return bisect_left(starts, sentence)
    words = (i for i in range(hard, first + budget // 2, -1) if window[starts[i] - 1].isspace())
    return next(words, hard)
