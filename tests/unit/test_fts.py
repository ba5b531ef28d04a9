"""What is indexed and asked of FTS5; the expressions are run by FTS5 itself."""

from __future__ import annotations

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search.store.sqlite.expressions import index_text, match_terms, tokenizer
from search.store.sqlite.schema import WORDS


def index_of(*texts: str) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute(WORDS.format(tokenizer=tokenizer("en")))
    for rowid, text in enumerate(texts):
        connection.execute(
            "INSERT INTO words (rowid, title, text) VALUES (?, '', ?)", (rowid, index_text(text))
        )
    return connection


def found(connection: apsw.Connection, query: str) -> set[int]:
    rows = connection.execute("SELECT rowid FROM words(?)", (" OR ".join(match_terms(query)),))
    return {int(rowid) for (rowid,) in rows}


def test_expression() -> None:
    terms = match_terms("How to prevent HEART-disease? Prevent!")
    assert terms == ['"how"', '"prevent"', '"heart"', '"disease"']


def test_syntax_of_fts5_is_only_words() -> None:
    terms = match_terms('NEAR(a b) AND title:x* ^y "z')
    assert terms == ['"near"', '"b"', '"title"', '"x"', '"y"', '"z"']


def test_a_query_of_stop_words_keeps_them() -> None:
    assert match_terms("To be or not to be") == ['"to"', '"be"', '"or"', '"not"']


def test_a_query_without_words_is_empty() -> None:
    assert match_terms(" ?! \x00 … ") == []


def test_unspaced_scripts_become_pairs() -> None:
    assert index_text("查高血压 BP") == " 查高 高血 血压 压  BP"
    assert match_terms("高血压 BP") == ['"高血"', '"血压"', '"bp"']
    assert match_terms("癌") == ['"癌"*']


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("preventing diseases", "prevention of a disease"),
        ("cafe", "Café"),
        ("Cafe\u0301", "cafés"),
        ("癌", "他得了肺癌"),
        ("心脏病", "如何预防心脏病？"),
        ("ｶﾀﾙ", "アレルギーとカタル"),
        ("고혈압", "고혈압은 위험하다"),
        ("हृदय", "हृदय रोग"),
        ("ＢＰ", "high bp"),
        ("หัวใจ", "โรคหัวใจ"),
        ("aspirin的作用", "阿司匹林（aspirin）"),
    ],
)
def test_finds(query: str, text: str) -> None:
    assert found(index_of("something else, 其他", text), query) == {1}


@given(st.text(min_size=1))
@example('"')
@example("a\x00b")
@example("\ud800 surrogate")
@example("x" * 100_000)
@example(" ".join(f"w{i}" for i in range(5_000)))
def test_no_query_is_a_syntax_error(query: str) -> None:
    if match_terms(query):
        found(index_of("some text"), query)


# Latin, kana and Han: letters newer than SQLite's own Unicode tables are not words to FTS5.
LETTERS = st.one_of(
    st.characters(categories=["L", "N"], max_codepoint=0x24F),
    st.characters(categories=["L"], min_codepoint=0x3041, max_codepoint=0x30FF),
    st.characters(categories=["L"], min_codepoint=0x4E00, max_codepoint=0x9FCC),
)


@given(st.text(LETTERS, min_size=1))
def test_a_text_is_found_by_itself(text: str) -> None:
    if match_terms(text):
        assert found(index_of(text), text) == {0}
