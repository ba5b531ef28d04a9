"""What is left of a long passage when it is cut for training."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Encoding, Tokenizer, models, pre_tokenizers

from training.focus import asked, focused

TITLE = "On sleep"
FIRST = "People were asked how long they had slept."
SECOND = "They wrote it down for a month."
ANSWER = "Coffee after noon shortened their sleep by an hour."
LAST = "Tea did not, and nor did water."
TEXT = " ".join((FIRST, SECOND, ANSWER, LAST))
QUERY = "does coffee shorten sleep"


@pytest.fixture(scope="module")
def encode() -> Callable[[str], Encoding]:
    """Words and marks as tokens; each id stands for the token's place in the text."""

    def encoding(text: str) -> Encoding:
        pieces = dict.fromkeys(re.findall(r"\w+|[^\w\s]+", text))
        tokenizer = Tokenizer(models.WordLevel({p: n for n, p in enumerate(pieces)}, "?"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        return tokenizer.encode(text, add_special_tokens=False)

    return encoding


def kept(text: str, tokens: Encoding, room: int, query: str = QUERY) -> str:
    names = dict(zip(tokens.ids, tokens.tokens, strict=True))
    return " ".join(names[i] for i in focused(text, tokens, asked(query), room))


def spaced(text: str) -> str:
    return " ".join(re.findall(r"\w+|[^\w\s]+", text))


def test_what_fits_is_left_as_it_is(encode: Callable[[str], Encoding]) -> None:
    tokens = encode(TEXT)
    assert focused(TEXT, tokens, asked(QUERY), len(tokens.ids)) == tokens.ids


def test_the_sentence_that_is_asked_about_is_kept_behind_the_title(
    encode: Callable[[str], Encoding],
) -> None:
    text = f"{TITLE}\n{TEXT}"
    assert kept(text, encode(text), 12) == spaced(f"{TITLE} {ANSWER}")


def test_the_sentence_before_it_is_kept_where_both_fit(encode: Callable[[str], Encoding]) -> None:
    assert kept(TEXT, encode(TEXT), 18) == spaced(f"{SECOND} {ANSWER}")


def test_no_room_is_wasted_at_the_end_of_a_text(encode: Callable[[str], Encoding]) -> None:
    text = " ".join((SECOND, FIRST, ANSWER))
    assert kept(text, encode(text), 20) == spaced(f"{FIRST} {ANSWER}")


def test_a_text_without_the_querys_words_keeps_its_beginning(
    encode: Callable[[str], Encoding],
) -> None:
    assert kept(TEXT, encode(TEXT), 9, "price of gold") == spaced(FIRST)


@given(st.text("ab .\n", max_size=80), st.text("ab ", max_size=8), st.integers(1, 30))
def test_any_text_is_cut_to_the_room_and_no_further(
    encode: Callable[[str], Encoding], text: str, query: str, room: int
) -> None:
    tokens = encode(text)
    found = focused(text, tokens, asked(query), room)
    assert len(found) <= room
    assert len(tokens.ids) > room or found == tokens.ids
    assert set(found) <= set(tokens.ids)
