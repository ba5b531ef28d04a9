"""Filters on the properties of a class that others made, whatever their types."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from weaviate.classes.query import Filter
from weaviate.collections.classes.filters import FilterReturn

from search.errors import InputError
from search.store.weaviate.foreign.layout import Layout, Property
from search.store.weaviate.metadata import comparable, compare
from search.types import Condition, Operator, Scalar

INT64 = (-(2**63), 2**63 - 1)
LOWEST = -1.7e308
ALWAYS = datetime(1, 1, 1, tzinfo=UTC)

_DAY = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")


def filter_of(conditions: Sequence[Condition], layout: Layout) -> FilterReturn | None:
    """All conditions as one filter, or None when no object can match.

    A value of another kind than its property never matches, but for `!=`, which then only asks
    whether the object has the property. Texts are compared as the class cuts them: by words, in any
    case, unless the property's tokenization is `field`. Raises InputError.
    """
    filters = []
    for condition in conditions:
        known = layout.properties.get(condition.field)
        if known is None:
            return None
        if not known.filterable:
            raise InputError(
                f"filter on {known.name!r}: the class keeps no index of it (indexFilterable)"
            )
        found = _compared(known, condition.operator, condition.value)
        if condition.operator == "!=":
            filters += [_exists(known, layout.knows_null), *([found] if found else [])]
        elif found is None:
            return None
        else:
            filters.append(found)
    return Filter.all_of(filters)


def _compared(known: Property, operator: Operator, value: Scalar) -> FilterReturn | None:
    """None: no value of this property can be equal to `value`, or be compared with it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if known.type == "date":
        return None if isinstance(value, bool) else _date(known.name, operator, value)
    if known.type == "int":
        return _whole(known.name, operator, value) if is_number else None
    if known.type == "number":
        return compare(known.name, operator, comparable(value)) if is_number else None
    if known.type == "boolean":
        _require_equality(known, operator, "is true or false")
        return compare(known.name, operator, value) if isinstance(value, bool) else None
    if not isinstance(value, str):
        return None
    if known.type == "uuid":
        _require_equality(known, operator, "is a uuid")
        return compare(known.name, operator, value) if _is_uuid(value) else None
    if known.is_prose:
        _require_equality(known, operator, "is text that the class cuts into words")
    return compare(known.name, operator, value)


def _require_equality(known: Property, operator: Operator, reason: str) -> None:
    if operator not in ("=", "!="):
        raise InputError(
            f"filter on {known.name!r}: it {reason}, which = and != can ask for, and not {operator}"
        )


def _whole(name: str, operator: Operator, value: Scalar) -> FilterReturn | None:
    """Weaviate compares whole numbers with whole numbers only."""
    number = max(INT64[0], min(INT64[1], value)) if isinstance(value, int | float) else 0
    if isinstance(number, int):
        return compare(name, operator, number)
    if operator in ("=", "!="):
        return compare(name, operator, int(number)) if number.is_integer() else None
    # x < 2.5 is x <= 2, and x > 2.5 is x >= 3.
    if number.is_integer():
        return compare(name, operator, int(number))
    below = operator in ("<", "<=")
    return compare(name, "<=" if below else ">=", math.floor(number) + (not below))


def _date(name: str, operator: Operator, value: str | float) -> FilterReturn:
    """A year, month or day is all the time in it: `=2020` matches from its start to its end."""
    start, end = _period(name, value)
    by = Filter.by_property(name)
    return {
        "=": by.greater_or_equal(start) & by.less_than(end),
        "!=": by.less_than(start) | by.greater_or_equal(end),
        "<": by.less_than(start),
        "<=": by.less_than(end),
        ">": by.greater_or_equal(end),
        ">=": by.greater_or_equal(start),
    }[operator]


def _period(name: str, value: str | float) -> tuple[datetime, datetime]:
    """Its start, and the start of what follows. Raises InputError."""
    text = str(value)
    with suppress(ValueError, OverflowError):
        if match := _DAY.fullmatch(text):
            year, month, day = (int(part) if part else None for part in match.groups())
            start = datetime(year or 1, month or 1, day or 1, tzinfo=UTC)
            if day is not None:
                return start, start + timedelta(days=1)
            years, months = divmod(start.month, 12) if month is not None else (1, 0)
            return start, start.replace(year=start.year + years, month=months + 1)
        exact = datetime.fromisoformat(text)
        exact = exact if exact.tzinfo else exact.replace(tzinfo=UTC)
        return exact, exact + timedelta(microseconds=1)
    raise InputError(
        f"filter on {name!r}: it is a date, and {text!r} is none; expected for example 2020, "
        "2020-05, 2020-05-31 or 2020-05-31T12:00:00Z"
    )


def _is_uuid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


def _exists(known: Property, knows_null: bool) -> FilterReturn:
    """Weaviate's `!=` also matches objects without the property; ours does not."""
    by = Filter.by_property(known.name)
    if knows_null:
        return by.is_none(False)
    if known.type == "date":
        return by.greater_or_equal(ALWAYS)
    if known.type == "int":
        return by.greater_or_equal(INT64[0])
    if known.type == "number":
        return by.greater_or_equal(LOWEST)
    if known.type == "boolean":
        return by.equal(True) | by.equal(False)
    if known.type == "uuid":
        return by.greater_or_equal(str(uuid.UUID(int=0)))
    return by.like("*")
