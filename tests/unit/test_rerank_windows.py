from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_folders import write_tokenizer

from search.errors import QueryTooLong
from search.models.tokens import Tokenizer
from search.rerank.checkpoint import BUNDLED
from search.rerank.windows import PairEncoder

SPECIALS = 3


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return Tokenizer(folder)


@given(st.integers(0, 120), st.integers(1, 6), st.integers(16, 48), st.integers(0, 60))
def test_windows_cover_the_text_overlap_and_fit(
    tokenizer: Tokenizer, words: int, query_words: int, max_length: int, overlap: int
) -> None:
    text = " ".join(["heart", "attack"][i % 2] for i in range(words))
    query = " ".join(["is"] * query_words)
    windows = PairEncoder(tokenizer, max_length, overlap).windows([(query, text)])
    size = max_length - SPECIALS - query_words
    ids = tokenizer.encode([query])[0].ids
    assert all(len(window.tokens.ids) <= max_length for window in windows)
    assert all(window.tokens.ids[1 : 1 + query_words] == ids for window in windows)
    places = [
        (text[:start].count(" "), text[:end].count(" ") + 1)  # in words, which are tokens here
        for _, _, (start, end) in windows
    ]
    if words <= size:
        assert [window.span for window in windows] == [(0, len(text))]
        return
    shared = min(overlap, size // 2)
    assert places[0][0] == 0
    assert places[-1][1] == words
    assert all(end - start == size for start, end in places[:-1])
    assert all(b[0] == a[1] - shared for a, b in pairwise(places))


def test_windows_belong_to_their_pairs_in_order(tokenizer: Tokenizer) -> None:
    pairs = [("heart", "a " * 30), ("attack", "x"), ("heart", "")]
    windows = PairEncoder(tokenizer, 16, 4).windows(pairs)
    assert [window.pair for window in windows] == [0, 0, 0, 0, 1, 2]
    assert windows[-1].span == (0, 0)


def test_a_query_over_half_the_room_is_refused_with_numbers(tokenizer: Tokenizer) -> None:
    encoder = PairEncoder(tokenizer, 16, 4)
    assert encoder.windows([("heart " * 6, "a")])
    with pytest.raises(QueryTooLong, match=r"has 7 tokens; expected at most 6.*max_length"):
        encoder.windows([("heart " * 7, "a")])


@pytest.mark.parametrize(
    ("positions", "end"),
    [
        (None, "shorten it, or raise max_length if the model allows more"),
        (16, "shorten it"),
        (17, "shorten it, or raise max_length"),
    ],
)
def test_raising_max_length_is_advised_where_it_helps(
    tokenizer: Tokenizer, positions: int | None, end: str
) -> None:
    encoder = PairEncoder(tokenizer, 16, 4, positions=positions)
    with pytest.raises(QueryTooLong, match=rf": {end}$"):
        encoder.windows([("heart " * 7, "a")])


@given(st.lists(st.sampled_from(["heart", "is", "x", "ünüsual", "心", "!"])))
def test_of_a_long_query_the_first_words_are_readable(
    tokenizer: Tokenizer, words: list[str]
) -> None:
    encoder = PairEncoder(tokenizer, 16, 4)
    query = " ".join(words)
    read = encoder.readable(query)
    assert read == " ".join(words[:6])  # each is a token here
    assert encoder.windows([(read, "a")])


def test_of_a_word_that_is_too_long_its_beginning_is_readable() -> None:
    tokenizer = Tokenizer(BUNDLED)
    encoder = PairEncoder(tokenizer, 16, 4)
    for query in ("pneumonoultramicroscopic", "心" * 20, "ab-cd/ef" * 3):
        read = encoder.readable(query)
        assert read
        assert query.startswith(read)
        assert len(tokenizer.encode([read])[0].ids) <= 6 < len(tokenizer.encode([query])[0].ids)
    words = encoder.readable("cardiomyopathies pneumonoultramicroscopic again")
    assert words == "cardiomyopathies"  # no half of a word


def test_windows_are_as_long_as_the_model_is_used_to(tokenizer: Tokenizer) -> None:
    """Beside a query that takes more than half of that, text still gets half of it."""
    encoder = PairEncoder(tokenizer, 64, 4, usual=23)
    lengths = [
        len(encoder.windows([("is " * words, "heart " * 60)])[0].tokens.ids)
        for words in (1, 10, 11, 30)
    ]
    assert lengths == [23, 23, 24, 43]
