"""Metadata filters as people type them: `year>=2020`, `lang=en`, `year=2018..2022`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import cast

from search.errors import InputError
from search.types import Condition, Kind, Operator, Scalar

EXAMPLES = 'lang=en, year>=2020, year=2018..2022, year=2018.., status!=draft, code="007"'
FIELDS_SHOWN = 20

_EXPRESSION = re.compile(r"\s*([^=<>!]*?)\s*([=<>!]+)\s*(.*?)\s*", re.DOTALL)
_OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
# As other languages write them.
_MEANT = {"==": "=", "===": "=", "!==": "!=", "=!": "!=", "<>": "!=", "=>": ">=", "=<": "<="}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_QUOTED_END = re.compile(r'".*"\s*\.\.', re.DOTALL)
_RANGE = re.compile(r"(.*[^.])?\.\.([^.].*)?", re.DOTALL)


def parse_filters(expressions: Iterable[str]) -> tuple[Condition, ...]:
    """Every expression's conditions, in order; all of them must hold. Raises InputError.

    >>> parse_filters(["lang=en", "year>=2020"])[1]
    Condition(field='year', operator='>=', value=2020)
    """
    return tuple(condition for expression in expressions for condition in _parse(expression))


def _parse(expression: str) -> list[Condition]:
    match = _EXPRESSION.fullmatch(expression)
    if match is None or not match[1]:
        raise _error(expression, "is not of the form FIELD OPERATOR VALUE")
    field, operator, text = match[1], _operator(expression, match[2]), match[3]
    if not text:
        raise _error(expression, 'has no value (an empty text is written "")')
    if _QUOTED_END.match(text):
        raise _error(
            expression,
            "has a range with quoted ends, which is written as two filters: "
            f'{field}>="…" and {field}<="…"',
        )
    ends = None if text.startswith('"') else _RANGE.fullmatch(text)
    if ends is None:
        return [_condition(expression, field, operator, text)]
    if operator != "=":
        raise _error(expression, f"has a range, which goes with = and not with {operator}")
    return _range(expression, field, ends[1], ends[2])


def _operator(expression: str, found: str) -> Operator:
    if found not in _OPERATORS:
        expected = _MEANT.get(found, "one of " + " ".join(_OPERATORS))
        raise _error(
            expression,
            f"has the operator {found}, expected {expected} "
            '(a value that begins with such a sign goes in quotes: field="=x")',
        )
    return cast(Operator, found)


def _range(expression: str, field: str, low: str | None, high: str | None) -> list[Condition]:
    """Both ends are included; a missing one leaves that side open."""
    if low is None and high is None:
        raise _error(expression, "has a range without ends")
    conditions = []
    if low is not None:
        conditions.append(_condition(expression, field, ">=", low.strip()))
    if high is not None:
        conditions.append(_condition(expression, field, "<=", high.strip()))
    if len(conditions) == 2:
        _require_order(expression, conditions[0].value, conditions[1].value)
    return conditions


def _condition(expression: str, field: str, operator: Operator, text: str) -> Condition:
    return Condition(field, operator, _value(expression, text), text)


def _require_order(expression: str, low: Scalar, high: Scalar) -> None:
    if isinstance(low, str) and isinstance(high, str):
        backwards = low > high
    elif isinstance(low, str) or isinstance(high, str):
        raise _error(expression, f"has a range from {low!r} to {high!r}: one number, one text")
    else:
        backwards = low > high
    if backwards:
        raise _error(expression, f"has a range that ends ({high!r}) before it starts ({low!r})")


def _value(expression: str, text: str) -> Scalar:
    """true/false, a number as JSON writes it, else text; quotes make anything text."""
    if text.startswith('"'):
        if len(text) < 2 or not text.endswith('"'):
            raise _error(expression, "has an opening quote without a closing one")
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and isfinite(float(text)):
        return float(text)
    return text


def mismatch(filters: Iterable[Condition], fields: Mapping[str, frozenset[Kind]]) -> str | None:
    """Why no document can pass: a field that none has, or a value of another kind; else None."""
    for condition in filters:
        name, value = condition.field, condition.value
        kinds = fields.get(name)
        if kinds is None:
            close = difflib.get_close_matches(name, fields, 1)
            meant = f"; is `{close[0]}` meant?" if close else "."
            if not fields:
                return f"no document has the field `{name}`, nor any other to filter on"
            shown = ", ".join(sorted(fields)[:FIELDS_SHOWN])
            more = ", …" if len(fields) > FIELDS_SHOWN else ""
            return f"no document has the field `{name}`{meant} The fields are: {shown}{more}"
        if _kind(value) not in kinds:
            held = " or ".join(sorted(kinds))
            typed = condition.typed or value
            quoted = f': write {name}{condition.operator}"{typed}"' if kinds == {"text"} else ""
            return f"the values of `{name}` are {held}, and {value!r} is {_kind(value)}{quoted}"
    return None


def _kind(value: Scalar) -> Kind:
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def _error(expression: str, problem: str) -> InputError:
    return InputError(f"filter {expression!r} {problem}; examples: {EXAMPLES}")
