"""What the readers hand on: a record as the input spelt it, or the reason there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One document as found; `fields` are raw, and `line` counts from 1 (None: the whole file).

    `default_id` and `default_title` stand in for fields a format does not have (a text file).
    `plain`: the text is known to hold no markup, so a tag in it is meant literally.
    """

    fields: Mapping[str, Any]
    file: str
    line: int | None = None
    default_id: str | None = None
    default_title: str = ""
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that cannot be taken: why, where, and as much of it as could be kept.

    `incomplete`: reading stopped here, so the file may hold records that nobody has seen.
    """

    reason: str
    file: str
    line: int | None = None
    fields: Mapping[str, Any] | None = None
    raw: str | None = None
    incomplete: bool = False

    @property
    def place(self) -> str:
        return place(self.file, self.line)


def place(file: str, line: int | None) -> str:
    """`corpus.jsonl:17`, or only the file when the record is the whole of it."""
    return file if line is None else f"{file}:{line}"


class RecordError(Exception):
    """This record, or the rest of this file, cannot be used; the message is the reason."""
