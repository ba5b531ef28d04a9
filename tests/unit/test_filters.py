"""Filters as typed: every form gives its conditions, and every misuse a message with examples."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search.errors import InputError
from search.filters import mismatch, parse_filters
from search.types import Condition, Kind


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("lang=en", [("lang", "=", "en")]),
        (" lang = en ", [("lang", "=", "en")]),
        ("status!=draft", [("status", "!=", "draft")]),
        ("year>=2020", [("year", ">=", 2020)]),
        ("year<=2020", [("year", "<=", 2020)]),
        ("weight<1.5", [("weight", "<", 1.5)]),
        ("weight>-2e3", [("weight", ">", -2000.0)]),
        ("open=true", [("open", "=", True)]),
        ("date>2020-01-31", [("date", ">", "2020-01-31")]),
        ("code=007", [("code", "=", "007")]),
        ('code="7"', [("code", "=", "7")]),
        ('note=""', [("note", "=", "")]),
        ("a.b=c=d", [("a.b", "=", "c=d")]),
        ("year=2018..2022", [("year", ">=", 2018), ("year", "<=", 2022)]),
        ("year=2018..", [("year", ">=", 2018)]),
        ("year=..2022", [("year", "<=", 2022)]),
        ("x=0.5..1.5", [("x", ">=", 0.5), ("x", "<=", 1.5)]),
        ("date=2020-01..2020-06", [("date", ">=", "2020-01"), ("date", "<=", "2020-06")]),
        ('name="a..b"', [("name", "=", "a..b")]),
        ("name=wait...", [("name", "=", "wait...")]),
        ("x=1e999", [("x", "=", "1e999")]),
    ],
)
def test_forms(expression: str, expected: list[tuple[str, str, object]]) -> None:
    conditions = parse_filters([expression])
    assert [(c.field, c.operator, c.value) for c in conditions] == expected
    assert [type(c.value) for c in conditions] == [type(value) for _, _, value in expected]


def test_expressions_are_joined_in_order() -> None:
    assert [c.field for c in parse_filters(["b=1", "a=2..3"])] == ["b", "a", "a"]


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "is not of the form"),
        ("year", "is not of the form"),
        ("=2020", "is not of the form"),
        ("year=", "has no value"),
        ("year>2018..2022", "goes with = and not with >"),
        ("year=..", "without ends"),
        ("year=2022..2018", "ends (2018) before it starts (2022)"),
        ("year=2018..now", "one number, one text"),
        ('title="heart', "without a closing one"),
        ('title="', "without a closing one"),
        ('c="007".."010"', 'written as two filters: c>="…" and c<="…"'),
        ('c="007" .. "010"', "has a range with quoted ends"),
        ('c="007"..', "has a range with quoted ends"),
        ('c="007"..010', "has a range with quoted ends"),
    ],
)
def test_misuse_is_explained(expression: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_filters([expression])
    assert problem in str(caught.value)
    assert repr(expression) in str(caught.value)
    assert "year=2018..2022" in str(caught.value)


FIELDS = st.from_regex(r"[\w.-]{1,10}", fullmatch=True)


@given(FIELDS, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.text())
def test_quoted_text_comes_back_as_it_is(field: str, operator: str, text: str) -> None:
    assume('"' not in text or ".." not in text)
    assert parse_filters([f'{field}{operator}"{text}"']) == (Condition(field, operator, text),)


@given(FIELDS, st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back_as_they_are(field: str, number: float) -> None:
    assert parse_filters([f"{field}={number}"]) == (Condition(field, "=", number),)


@given(st.text())
def test_anything_is_parsed_or_refused(expression: str) -> None:
    try:
        conditions = parse_filters([expression])
    except InputError:
        return
    assert 1 <= len(conditions) <= 2
    assert all(condition.field for condition in conditions)


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        ("year==2018", "expected = "),
        ("year=>2018", "expected >= "),
        ("year=<2018", "expected <= "),
        ("lang<>en", "expected != "),
        ("lang!==en", "expected != "),
        ("lang!en", "expected one of = != < <= > >= "),
        ("year>>2018", "expected one of"),
    ],
)
def test_operators_of_other_languages_are_refused_with_the_right_spelling(
    expression: str, meant: str
) -> None:
    """Taken for `=` and a value that begins with a sign, they gave an answer that was wrong."""
    with pytest.raises(InputError) as caught:
        parse_filters([expression])
    assert meant in str(caught.value)


def test_a_quoted_value_may_begin_with_a_sign() -> None:
    assert parse_filters(['note="=x"']) == (Condition("note", "=", "=x"),)


FIELDS: dict[str, frozenset[Kind]] = {
    "language": frozenset({"text"}),
    "year": frozenset({"text"}),
    "pages": frozenset({"number"}),
    "mixed": frozenset({"number", "text"}),
}


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("langauge=en", "no document has the field `langauge`; is `language` meant?"),
        ("x=1", "The fields are: language, mixed, pages, year"),
        ("year>=2018", 'the values of `year` are text, and 2018 is number: write year>="2018"'),
        ("year=1.10", 'and 1.1 is number: write year="1.10"'),
        ("year=2e3..", 'and 2000.0 is number: write year>="2e3"'),
        ("year=true", 'and True is boolean: write year="true"'),
        ("pages=many", "the values of `pages` are number, and 'many' is text"),
        ("pages=true", "and True is boolean"),
    ],
)
def test_a_filter_that_no_document_can_pass_is_explained(expression: str, said: str) -> None:
    assert said in str(mismatch(parse_filters([expression]), FIELDS))


@pytest.mark.parametrize("expression", ["language=tlh", 'year>="2018"', "pages<3", "mixed=3"])
def test_a_filter_that_a_document_could_pass_is_not(expression: str) -> None:
    assert mismatch(parse_filters([expression]), FIELDS) is None
