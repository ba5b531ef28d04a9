"""(query, text) pairs to model inputs: a query is read whole, a long text becomes windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tokenizers import Encoding

from search.errors import QueryTooLong
from search.models.tokens import Span, Tokenizer, Tokens


class Window(NamedTuple):
    """One input of the model: the pair it belongs to, and which characters of the text it reads."""

    pair: int
    tokens: Tokens
    span: Span


class PairEncoder:
    """Cuts pairs to `max_length` tokens, special tokens included.

    The query may take up to half of the room; neighbouring windows of a text share `overlap`
    tokens (at most half a window). A model trained on inputs of `usual` tokens reads longer ones
    less well, so that only a query of more than half of that makes windows longer. `positions` is
    how far `max_length` could be raised; None: nobody knows.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_length: int,
        overlap: int,
        usual: int | None = None,
        positions: int | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = tokenizer.template("a", "a")
        self._room = max_length - self._template.special_tokens
        self._most_room = None if positions is None else positions - self._template.special_tokens
        self._usual = (usual or max_length) - self._template.special_tokens
        self._overlap = overlap

    def windows(self, pairs: Sequence[tuple[str, str]]) -> list[Window]:
        """At least one window per pair, in order. Raises QueryTooLong."""
        distinct = list(dict.fromkeys(text for pair in pairs for text in pair))
        encoded = dict(zip(distinct, self._tokenizer.encode(distinct), strict=True))
        queries = {query: self._query_ids(query, encoded[query]) for query, _ in pairs}
        return [
            Window(i, self._template(queries[query], ids), span)
            for i, (query, text) in enumerate(pairs)
            for ids, span in self._cut(text, encoded[text], self._size(len(queries[query])))
        ]

    def readable(self, query: str) -> str:
        """As many of the query's words, from its beginning, as may stand beside a text.

        All of them, mostly; of a first word that is too long by itself, its beginning.
        """
        most = self._room // 2
        if query.isascii() and len(query) <= most:
            return query  # a token has a character at least
        encoding = self._tokenizer.encode([query])[0]
        if len(encoding.ids) <= most:
            return query
        words = encoding.word_ids
        end = most
        while end and words[end] == words[end - 1]:
            end -= 1
        cut = min(encoding.offsets[(end or most) - 1][1], len(query) - 1)
        return self.readable(query[:cut])  # part of a word may have more tokens than it had there

    def _size(self, query: int) -> int:
        """Tokens of text in a window, beside a query of so many."""
        return min(self._room - query, max(self._usual - query, self._usual // 2))

    def _query_ids(self, query: str, encoding: Encoding) -> list[int]:
        ids: list[int] = encoding.ids
        if len(ids) > self._room // 2:
            raise QueryTooLong(
                f"the query has {len(ids)} tokens; expected at most {self._room // 2}, half of "
                f"what the model can read ({query[:40]!r}…): shorten it{self._or_raise(len(ids))}"
            )
        return ids

    def _or_raise(self, query: int) -> str:
        """The other way to make room for a query of so many tokens, where there is one."""
        if self._most_room is None:
            return ", or raise max_length if the model allows more"
        return ", or raise max_length" if query <= self._most_room // 2 else ""

    def _cut(self, text: str, encoding: Encoding, size: int) -> Iterator[tuple[list[int], Span]]:
        """Token ids and characters of each window of at most `size` tokens."""
        ids = encoding.ids
        if len(ids) <= size:
            yield ids, (0, len(text))
            return
        offsets = encoding.offsets
        step = size - min(self._overlap, size // 2)
        for start in range(0, len(ids) - size + step, step):
            end = min(start + size, len(ids))
            yield ids[start:end], (offsets[start][0], offsets[end - 1][1])
