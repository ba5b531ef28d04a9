"""Text comes out readable, and nothing that only looks like markup is lost."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clean import clean_text, clean_title
from ingest.markup import read_page, strip_markup


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "p<0.05, n>30",
        "if x <b and c> d then",
        "R&D at AT&T &copy 2020",
        "x << 2 && y >> 1",
        "List<String> names",
        "use a<i and b",
        "mail <anna@example.org>",
    ],
)
def test_what_is_no_markup_survives(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("a<br>b", "a\nb"),
        ("H<sub>2</sub>O is <b class='x'>wet</b>", "H2O is wet"),
        ("<p>p<0.05 and R&D, x <y</p>", "p<0.05 and R&D, x <y"),
        ("fish &amp; chips &lt;b&gt; &#233;&#x2014;&nbsp;ok", "fish & chips <b> é— ok"),
        ("<p>a</p><script>alert(1)</script><style>b{}</style>", "a"),
        ("<ul><li>one<li>two</ul>", "one\n\ntwo"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("before <!-- hidden --> <i>after</i>", "before after"),
        ("&lt;b&gt; once only: &amp;lt;", "<b> once only: &lt;"),
    ],
)
def test_markup_goes_and_blocks_stay_apart(text: str, expected: str) -> None:
    assert "".join(clean_text(text).split()) == "".join(expected.split())
    assert ("\n" in clean_text(text)) == ("\n" in expected)


def test_plain_text_keeps_its_tags() -> None:
    assert clean_text("write <b>bold</b> &amp; go", plain=True) == "write <b>bold</b> &amp; go"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zero\u200bwidth\ufeff \u2060soft\u00adhyphen", "zerowidth softhyphen"),
        ("\u202eevil\u202c \u2066isolated\u2069", "evil isolated"),
        ("join\u200ded a\u200cb", "joined ab"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian needs its joiner
        ("👩\u200d🔬", "👩\u200d🔬"),  # one emoji out of two
        ("bell\x07 null\x00 c1\x9f", "bell null c1"),
        ("e\u0301 and e\u200b\u0301", "é and é"),
        ("half \ud800 pair", "half \ufffd pair"),
        ("a\u00a0 \t b\u3000c", "a b c"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("p1 \n \n\n\n p2", "p1\n\np2"),
        ("unit\x1fseparated", "unit separated"),
    ],
)
def test_characters_and_whitespace(text: str, expected: str) -> None:
    assert clean_text(text) == expected


def test_a_title_is_one_line() -> None:
    assert clean_title(" Heart\n\n<b>disease</b> ") == "Heart disease"


@given(st.text(alphabet=st.characters(exclude_characters="<&")))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(st.text(alphabet="<>&;/ab=\"' p!-#x"))
def test_markup_of_any_kind_is_no_crash(text: str) -> None:
    assert isinstance(clean_text(text), str)


def test_deeply_nested_markup_is_text_still() -> None:
    assert clean_text("<div>" * 5000 + "deep" + "</div>" * 5000) == "deep"


def seconds(html: str) -> float:
    start = time.process_time()
    read_page(html)
    strip_markup(html)
    return time.process_time() - start


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "<p>hello",
            "<div>",
            "<b>x",
            "<",
            "<a",
            "</",
            "<!",
            "<!-- a",
            "<a b='",
            "<a b='>",
            "<svg>",
        ),
        *(
            "<script>",
            "<title>",
            "&",
            "<a b=\"'",
            "<![CDATA[",
            "<h1>x</h1>",
            "<noscript>x</noscript>",
        ),
    ],
)
def test_the_time_grows_with_the_length_alone(piece: str) -> None:
    short, long = (min(seconds(piece * n) for _ in range(3)) for n in (2_000, 20_000))
    assert long < 30 * short + 0.05, f"ten times the text took {long / short:.0f} times as long"


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("a <b title='x > y'>bold</b> word", "a bold word"),
        ("a <b title=it's>bold</b> isn't", "a bold isn't"),
        ("<p>x<!-- <p>no</p> -->y<!doctype html><?php echo ?>z", "xyz"),
        ("<script>if (a < b) '</p>'</script>shown", "shown"),
        ("<script src=x />shown<script>hidden</script>", "shown"),
        ("<svg><title>no</title><text>no</text></svg>shown", "shown"),
        ("<noscript>never closed, shown", "never closed, shown"),
        ("<title>T</title><textarea><b>shown</b></textarea>", "<b>shown</b>"),
        ("one\n  two <pre>a\n  b</pre>", "one two\n\na\nb"),
        ("<table><tr><td>a<td>b<tr><td>c</table>", "a b\nc"),
        ("a &lt;b&gt; &amp;amp; &copy; &nope; &#x110000; <3 <", "a <b> &amp; © &nope; \ufffd <3 <"),
        ("<![CDATA[ x ]]>y", "y"),
    ],
)
def test_a_page_as_a_browser_shows_it(html: str, expected: str) -> None:
    _, sections = read_page(html)
    assert clean_text("".join(section.text for section in sections), plain=True) == expected


def test_the_title_of_a_page() -> None:
    assert read_page("<svg><title>no</title></svg><title>T &amp; U</title><h1>H</h1>")[0] == "T & U"
    assert read_page("<title> </title><h2>H <i>1</i></h2><h1>no</h1>")[0] == "H 1"
