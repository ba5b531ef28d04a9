"""Conditions against an outside oracle: the same comparison in Python."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.store.sqlite.expressions import where_sql
from search.types import Condition

METADATA: dict[str, Any] = {
    "year": 2020,
    "weight": 1.5,
    "lang": "en",
    "date": "2020-05-17",
    "open": True,
    "tags": ["heart", "diet"],
    "years": [1999, 2010],
    'odd "name".with$[0]\\': 1,
    "none": [],
    "text_year": "2020",
}


def matches(metadata: Mapping[str, Any], *conditions: Condition) -> bool:
    condition, parameters = where_sql(conditions)
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE documents (metadata TEXT)")
    connection.execute("INSERT INTO documents VALUES (?)", (json.dumps(metadata),))
    return bool(
        connection.execute(f"SELECT count(*) FROM documents WHERE {condition}", parameters).get
    )


@pytest.mark.parametrize(
    ("field", "comparison", "value", "expected"),
    [
        ("year", "=", 2020, True),
        ("year", "=", 2020.0, True),
        ("year", "<", 2020, False),
        ("year", ">=", 2019.5, True),
        ("year", "=", "2020", False),
        ("year", ">", "0", False),
        ("text_year", ">", 0, False),
        ("text_year", "=", "2020", True),
        ("weight", "<=", 1.5, True),
        ("lang", "=", "en", True),
        ("lang", "=", "EN", False),
        ("lang", "!=", "de", True),
        ("lang", "!=", "en", False),
        ("date", ">=", "2020-05", True),
        ("date", "<", "2020-05-17", False),
        ("open", "=", True, True),
        ("open", "=", 1, False),
        ("open", "!=", False, True),
        ("tags", "=", "diet", True),
        ("tags", "=", "surgery", False),
        ("tags", "!=", "diet", False),
        ("tags", "!=", "surgery", True),
        ("years", ">", 2005, True),
        ("years", ">", 2010, False),
        ("absent", "=", "x", False),
        ("absent", "!=", "x", False),
        ("none", "!=", "x", False),
        ('odd "name".with$[0]\\', "=", 1, True),
        ("year", "<", 10**30, True),
    ],
)
def test_condition(field: str, comparison: Any, value: Any, expected: bool) -> None:
    assert matches(METADATA, Condition(field, comparison, value)) is expected


def test_all_conditions_must_hold() -> None:
    english, recent = Condition("lang", "=", "en"), Condition("year", ">", 2019)
    assert matches(METADATA, english, recent)
    assert not matches(METADATA, english, recent, Condition("year", ">", 2020))


PYTHON = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
NUMBERS = st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)
# SQLite's JSON ends a text at NUL, and orders text by code point, as Python does.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(
    st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(sorted(PYTHON)), st.data()
)
def test_compares_as_python_does(field: str, comparison: Any, data: st.DataObject) -> None:
    values = data.draw(st.sampled_from([NUMBERS, TEXTS]))
    stored, asked = data.draw(values), data.draw(values)
    expected = PYTHON[comparison](stored, asked)
    assert matches({"other": 0, field: stored}, Condition(field, comparison, asked)) is expected
