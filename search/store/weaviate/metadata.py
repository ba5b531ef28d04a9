"""Metadata as properties that Weaviate can filter on, with the embedded store's meaning.

Weaviate fixes a property's type by its first value and takes few names. So each field becomes up
to three array properties, one for each kind of value: `year` → meta_year_number, meta_year_text,
meta_year_boolean. The values as they came are kept beside them, as JSON.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from weaviate.classes.config import DataType, Property, Tokenization
from weaviate.classes.query import Filter
from weaviate.collections.classes.filters import FilterReturn

from search.types import Condition, Kind, Scalar, Value

FIELDS = "metadata_fields"
PREFIX = "meta_"

_PLAIN = re.compile(r"[a-z0-9_]{1,100}")
_TYPES = {
    "number": DataType.NUMBER_ARRAY,
    "text": DataType.TEXT_ARRAY,
    "boolean": DataType.BOOL_ARRAY,
}


def property_name(field: str, kind: Kind) -> str:
    """A name that Weaviate takes, a different one for each field.

    Names that it would refuse, or not tell apart (it ignores case), get a hash of the original.
    """
    if not _PLAIN.fullmatch(field):
        digest = hashlib.sha256(field.encode()).hexdigest()[:16]
        field = f"{re.sub('[^a-z0-9]+', '_', field.lower())[:40]}_x{digest}"
    return f"{PREFIX}{field}_{kind}"


def properties_of(metadata: Mapping[str, Value]) -> dict[str, list[Any]]:
    """The filterable properties of one document; `metadata_fields` names the fields it has."""
    properties: dict[str, list[Any]] = {FIELDS: []}
    for field, value in metadata.items():
        members = value if isinstance(value, tuple) else (value,)
        if members:
            properties[FIELDS].append(field)
        for member in members:
            kind = kind_of(member)
            name = property_name(field, kind)
            properties.setdefault(name, []).append(float(member) if kind == "number" else member)
    return properties


def definition(name: str) -> Property:
    """How the property that `property_name` named is made in the class."""
    kind = name.rpartition("_")[2]
    return Property(
        name=name,
        data_type=_TYPES[kind],
        tokenization=Tokenization.FIELD if kind == "text" else None,
        index_filterable=True,
        index_searchable=False,
        skip_vectorization=True,
    )


def properties_in(conditions: Sequence[Condition]) -> set[str]:
    """The typed properties that these conditions compare."""
    return {property_name(one.field, kind_of(one.value)) for one in conditions}


def where_filter(conditions: Sequence[Condition], known: Container[str]) -> FilterReturn | None:
    """All conditions as one filter, or None when no document can match.

    `known` are the class's properties: a filter on any other is an error to Weaviate. As on the
    embedded store a value is compared with its own kind only, a list matches when any member does,
    and `!=` holds where the field exists and `=` does not. Numbers are compared as doubles, texts
    without white space around them.
    """
    filters: list[FilterReturn] = []
    for condition in conditions:
        name = property_name(condition.field, kind_of(condition.value))
        if condition.operator == "!=":
            filters.append(Filter.by_property(FIELDS).contains_any([condition.field]))
            if name in known:
                filters.append(_compare(name, "!=", condition.value))
        elif name in known:
            filters.append(_compare(name, condition.operator, condition.value))
        else:
            return None
    return Filter.all_of(filters)


def _compare(name: str, operator: str, value: Scalar) -> FilterReturn:
    left = Filter.by_property(name)
    right = float(value) if kind_of(value) == "number" else value
    compare = {
        "=": left.equal,
        "!=": left.not_equal,
        "<": left.less_than,
        "<=": left.less_or_equal,
        ">": left.greater_than,
        ">=": left.greater_or_equal,
    }
    return compare[operator](right)


def kind_of(value: Scalar) -> Kind:
    """What a value is compared as."""
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"
