"""Metadata conditions as SQL over the JSON in `documents.metadata`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from search.types import Condition, Scalar

Parameter = str | int | float

_MEMBER = "SELECT 1 FROM json_each(metadata, ?)"
_LARGEST_INTEGER = 2**63 - 1


def where_sql(conditions: Sequence[Condition]) -> tuple[str, list[Parameter]]:
    """A boolean expression on `documents`, with its parameters; all conditions must hold.

    A value is compared with its own kind only (numbers, text, true/false) and a list matches when
    any member does. `!=` is the complement of `=` among the documents that have the field; a
    document without the field matches nothing.
    """
    clauses: list[str] = []
    parameters: list[Parameter] = []
    for condition in conditions:
        # A JSON string is also a quoted label in a JSON path: any field name is safe.
        path = f"$.{json.dumps(condition.field)}"
        kinds, value = _comparable(condition.value)
        operator = "=" if condition.operator == "!=" else condition.operator
        clause = f"EXISTS ({_MEMBER} WHERE type IN {kinds} AND value {operator} ?)"
        if condition.operator == "!=":
            clause = f"EXISTS ({_MEMBER}) AND NOT {clause}"
            parameters.append(path)
        clauses.append(clause)
        parameters += [path, value]
    return " AND ".join(clauses), parameters


def _comparable(value: Scalar) -> tuple[str, Parameter]:
    """The JSON types that compare with this value, and the value as SQLite takes it."""
    if isinstance(value, bool):
        return "('true', 'false')", int(value)
    if isinstance(value, str):
        return "('text')", value
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        value = float(value)  # SQLite reads such a number in JSON as a float, too
    return "('integer', 'real')", value
