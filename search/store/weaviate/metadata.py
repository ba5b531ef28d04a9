"""Metadata as properties of a class: their names, the values in them, and filters on them.

Weaviate fixes a property's type by its first value and takes few names. So each field becomes up
to three array properties, one for each kind of value: `year` → meta_year_number, meta_year_text,
meta_year_boolean. A class takes MAX_FIELD_PROPERTIES of them; values of the fields after that go
into one property for all, `metadata_values`, where = and != still find them. The values as they
came are kept beside them, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any

from weaviate.classes.config import DataType, Property, Tokenization
from weaviate.classes.query import Filter
from weaviate.collections.classes.filters import FilterReturn

from search.errors import InputError
from search.types import Condition, Kind, Scalar, Value

FIELDS = "metadata_fields"
VALUES = "metadata_values"
PREFIX = "meta_"
# Each is a schema change, which all nodes of a cluster agree on, and an index of its own.
MAX_FIELD_PROPERTIES = 100

_PLAIN = re.compile(r"[a-z0-9_]{1,100}")
_TYPES: dict[Kind, DataType] = {
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


def metadata_properties(
    metadata: Mapping[str, Value], known: Container[str] | None = None
) -> dict[str, list[Any]]:
    """The filterable properties of one document; `metadata_fields` names the fields it has.

    Values whose property the class does not have (None: it has each) go to `metadata_values`.
    """
    properties: dict[str, list[Any]] = {FIELDS: []}
    for field, value in metadata.items():
        members = value if isinstance(value, tuple) else (value,)
        if members:
            properties[FIELDS].append(field)
        for member in members:
            name = property_name(field, _kind(member))
            if known is None or name in known:
                properties.setdefault(name, []).append(comparable(member))
            else:
                properties.setdefault(VALUES, []).append(_pair(field, member))
    return properties


def missing_fields(wanted: Iterable[str], known: Collection[str]) -> list[Property]:
    """Definitions of those of these properties that a class with `known` lacks, and may have."""
    fields = dict.fromkeys(n for n in wanted if n.startswith(PREFIX) and n not in known)
    room = MAX_FIELD_PROPERTIES - sum(name.startswith(PREFIX) for name in known)
    return [_field_property(name) for name in list(fields)[: max(0, room)]]


def kinds_of(field: str, known: Container[str]) -> frozenset[Kind]:
    """The kinds of value that a field of this class has properties for; without any, all kinds."""
    kinds = frozenset(kind for kind in _TYPES if property_name(field, kind) in known)
    return kinds or frozenset(_TYPES)


def metadata_filter(conditions: Sequence[Condition], known: Container[str]) -> FilterReturn | None:
    """All conditions as one filter, or None when no document can match.

    `known` are the class's properties: a filter on any other is an error to Weaviate. As on the
    embedded store a value is compared with its own kind only, a list matches when any member does,
    and `!=` holds where the field exists and `=` does not. Numbers are compared as doubles, texts
    without white space around them.
    """
    filters: list[FilterReturn] = []
    for condition in conditions:
        name = property_name(condition.field, _kind(condition.value))
        compared: list[FilterReturn] = []
        if name in known:
            compared.append(compare(name, condition.operator, comparable(condition.value)))
        if VALUES in known and condition.operator in ("=", "!="):
            pair = _pair(condition.field, condition.value)
            compared.append(compare(VALUES, condition.operator, pair))
        if condition.operator == "!=":
            filters += [Filter.by_property(FIELDS).contains_any([condition.field]), *compared]
        elif compared:
            filters.append(Filter.any_of(compared))
        else:
            return None
    return Filter.all_of(filters)


def unknown_properties(conditions: Sequence[Condition], known: Container[str]) -> list[Condition]:
    """The conditions whose typed property the class does not have, as far as we know."""
    return [one for one in conditions if property_name(one.field, _kind(one.value)) not in known]


def require_order(conditions: Sequence[Condition], known: Collection[str]) -> None:
    """Raises InputError for a field compared by order in a class that has no property for it."""
    if sum(name.startswith(PREFIX) for name in known) < MAX_FIELD_PROPERTIES:
        return
    for one in unknown_properties(conditions, known):
        if one.operator not in ("=", "!="):
            raise InputError(
                f"filter on {one.field!r}: {one.operator} needs a property of its own in Weaviate, "
                f"and this class has the most it may have, {MAX_FIELD_PROPERTIES}; this field can "
                "be compared with = and != (or ingest into another class, with fewer fields)"
            )


def compare(name: str, operator: str, value: str | float | bool) -> FilterReturn:
    left = Filter.by_property(name)
    compare = {
        "=": left.equal,
        "!=": left.not_equal,
        "<": left.less_than,
        "<=": left.less_or_equal,
        ">": left.greater_than,
        ">=": left.greater_or_equal,
    }
    return compare[operator](value)


def comparable(value: Scalar) -> str | float | bool:
    """As Weaviate compares it: every number as a double, however large."""
    if isinstance(value, int) and not isinstance(value, bool):
        largest = int(sys.float_info.max)
        return float(max(-largest, min(largest, value)))
    return value


def _pair(field: str, value: Scalar) -> str:
    """Field and value as one text, different for each pair of them."""
    return json.dumps([field, comparable(value)])


def _kind(value: Scalar) -> Kind:
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def _field_property(name: str) -> Property:
    """For the name that `property_name` made."""
    kind = next(kind for kind in _TYPES if name.endswith(f"_{kind}"))
    return Property(
        name=name,
        data_type=_TYPES[kind],
        tokenization=Tokenization.FIELD if kind == "text" else None,
        index_filterable=True,
        index_searchable=False,
        skip_vectorization=True,
    )
