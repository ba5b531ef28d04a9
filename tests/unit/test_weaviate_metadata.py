"""Metadata as typed properties: names that Weaviate takes, one for each field and kind."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import InputError
from search.store.weaviate.metadata import (
    MAX_FIELD_PROPERTIES,
    metadata_filter,
    metadata_properties,
    property_name,
    require_order,
)
from search.store.weaviate.schema import missing_properties
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
    assert metadata_properties(metadata) == {
        "metadata_fields": ["year", "open", "tags"],
        "meta_year_number": [2020.0],
        "meta_open_boolean": [True],
        "meta_tags_text": ["a"],
        "meta_tags_number": [1.0, 2.5],
        "meta_tags_boolean": [False],
    }


def test_definitions_follow_the_name() -> None:
    names = ["meta_year_number", "meta_x_text", "meta_x_boolean"]
    made = {one.name: one.dataType for one in missing_properties(names, ["text"])}
    assert [made[name] for name in names] == ["number[]", "text[]", "boolean[]"]
    assert made["source_file"] == "text"  # an older class gets what came later
    assert missing_properties(["meta_x_text"], [*made, "meta_x_text"]) == []


def test_a_class_takes_so_many_fields_and_the_rest_shares_one_property() -> None:
    metadata = {f"field{i}": i for i in range(MAX_FIELD_PROPERTIES + 2)}
    made = [one.name for one in missing_properties(metadata_properties(metadata), [])]
    known = set(made)
    assert sum(name.startswith("meta_") for name in made) == MAX_FIELD_PROPERTIES
    assert missing_properties(metadata_properties({"more": 1}), known) == []
    kept = metadata_properties(metadata, known)
    first, last = "field0", f"field{MAX_FIELD_PROPERTIES + 1}"
    assert kept["meta_field0_number"] == [0.0]
    assert kept["metadata_values"] == [
        f'["field{i}", {i}.0]' for i in (MAX_FIELD_PROPERTIES, MAX_FIELD_PROPERTIES + 1)
    ]
    assert len(kept["metadata_fields"]) == MAX_FIELD_PROPERTIES + 2
    require_order([Condition(last, "=", 1), Condition(first, "<", 1)], known)
    with pytest.raises(InputError, match=f"'{last}'.* can be compared with = and !="):
        require_order([Condition(last, "<", 1)], known)


def test_numbers_without_a_double_stay_in_range() -> None:
    assert metadata_properties({"n": 10**400})["meta_n_number"] == [1.7976931348623157e308]


def test_a_condition_on_an_unknown_property_matches_nothing() -> None:
    known = {"meta_year_number"}
    assert metadata_filter([Condition("year", "=", 2020)], known) is not None
    assert metadata_filter([Condition("year", "=", "2020")], known) is None
    assert metadata_filter([Condition("year", "=", 1), Condition("x", "<", 1)], known) is None
    assert metadata_filter([Condition("x", "!=", 1)], known) is not None
