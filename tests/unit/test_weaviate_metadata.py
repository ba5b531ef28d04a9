"""Metadata as typed properties: names that Weaviate takes, one for each field and kind."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from search.store.weaviate.metadata import (
    definition,
    properties_of,
    property_name,
    where_filter,
)
from search.types import Condition


def test_plain_names_stay_readable() -> None:
    assert property_name("year", "number") == "meta_year_number"
    assert property_name("year", "text") == "meta_year_text"


@given(st.text(), st.text())
def test_each_field_has_a_name_of_its_own_that_weaviate_takes(one: str, other: str) -> None:
    names = [property_name(field, "text") for field in (one, other)]
    for name in names:
        assert re.fullmatch(r"[_a-zA-Z][_0-9A-Za-z]{0,230}", name)
    # Weaviate compares property names without case.
    assert (names[0].lower() == names[1].lower()) == (one == other)


def test_values_go_to_the_property_of_their_kind() -> None:
    metadata = {"year": 2020, "open": True, "tags": ("a", 1, 2.5, False), "none": ()}
    assert properties_of(metadata) == {
        "metadata_fields": ["year", "open", "tags"],
        "meta_year_number": [2020.0],
        "meta_open_boolean": [True],
        "meta_tags_text": ["a"],
        "meta_tags_number": [1.0, 2.5],
        "meta_tags_boolean": [False],
    }


def test_definitions_follow_the_name() -> None:
    for name, data_type in [
        ("meta_year_number", "number[]"),
        ("meta_x_text", "text[]"),
        ("meta_x_boolean", "boolean[]"),
    ]:
        assert definition(name).dataType == data_type


def test_a_condition_on_an_unknown_property_matches_nothing() -> None:
    known = {"meta_year_number"}
    assert where_filter([Condition("year", "=", 2020)], known) is not None
    assert where_filter([Condition("year", "=", "2020")], known) is None
    assert where_filter([Condition("year", "=", 1), Condition("x", "<", 1)], known) is None
    assert where_filter([Condition("x", "!=", 1)], known) is not None
