"""Cutting a document into passages that the embedding model reads whole."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

from sentencex import get_sentence_boundaries

# Raise this when passages come out otherwise than before: stored documents are then cut anew.
VERSION = 1
# A tokenizer may read any run of characters as one (unknown) token, or as none.
MAX_TOKEN_LENGTH = 200
# The sentence splitter's language: it knows every script's full stops, and English abbreviations.
LANGUAGE = "en"


class Tokenizer(Protocol):
    """The embedding model's own tokens."""

    max_passage_tokens: int

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters (start, end) of each token."""


class Chunker:
    """Cuts at sentence ends where it can; neighbouring passages share up to `overlap` tokens."""

    def __init__(self, tokenizer: Tokenizer, overlap: int) -> None:
        self._tokenizer = tokenizer
        self.max_tokens = tokenizer.max_passage_tokens
        self.overlap = overlap

    def fit_title(self, title: str, text: str) -> tuple[str, str]:
        """A title that takes more than half of a passage is cut; in full it then heads the text."""
        offsets = self._tokenizer.token_offsets(title)
        limit = self.max_tokens // 2
        if len(offsets) <= limit:
            return title, text
        return title[: offsets[limit - 1][1]].rstrip() + "…", f"{title}\n\n{text}"

    def passages(self, title: str, text: str) -> tuple[str, ...]:
        """Passages that with the title line before each fit the model, covering all of `text`."""
        heading = self._tokenizer.token_offsets(f"{title}\n") if title else ()
        cut = self._cut(text, max(1, self.max_tokens - len(heading)))
        return tuple(passage for passage in map(str.strip, cut) if passage)

    def _cut(self, text: str, budget: int) -> Iterator[str]:
        """Works on a window of the text, so that a huge document's tokens never fill the memory."""
        size = 3 * budget * MAX_TOKEN_LENGTH
        position = 0
        while True:
            window = text[position : position + size]
            is_last = position + size >= len(text)
            starts = _token_starts(window, self._tokenizer.token_offsets(window))
            sentences = [sentence["start_index"] for sentence in _sentences(window)]
            first = 0
            # The tokens at the edge of a window may differ from those of the whole text.
            while len(starts) - first > (budget if is_last else 2 * budget):
                end = _end(window, starts, sentences, first, budget)
                yield window[starts[first] : starts[end]]
                first = self._next(window, starts, sentences, first, end)
            if is_last:
                yield window[starts[first] :]
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


def _sentences(text: str) -> list[dict[str, int]]:
    return list(get_sentence_boundaries(LANGUAGE, text))


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
