"""What the readers hand on: a record as the input spelt it, or the reason there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from search.types import Document, Location, Source


class RecordError(Exception):
    """This record, or the rest of this file, cannot be used; the message is the reason."""


class EmptyFile(RecordError):
    """There is no text in this file: nothing is wrong with it, and there is nothing to store."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document, and where it stands: the line (from 1), page, or heading above it."""

    text: str
    line: int | None = None
    page: int | None = None
    heading: str = ""


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file that is one document. The sections hold its text, without markup."""

    id: str
    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One document as found: in the file that messages call `file`, in `line` (None: all of it).

    `fields` are raw: all there is in a record, and only the metadata of a `whole` file. `source`
    is where the document comes from, which a rejects file names of each record in it. `columns`:
    what a table's header names; `fields` has only those of them in which the row has a value.
    """

    fields: Mapping[str, Any]
    file: str
    line: int | None = None
    whole: WholeFile | None = None
    source: Source | None = None
    columns: Sequence[str] = ()

    def rejected(self, reason: str) -> Rejection:
        """Its rejection. The content of a whole file is not repeated: the file itself is there."""
        fields = self.fields if self.whole is None else None
        return Rejection(reason, self.file, self.line, fields, source=self.source)


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
    source: Source | None = None

    @property
    def location(self) -> str:
        return location(self.file, self.line)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record, the `number`th of the run; without an id that can be used: None.

    Its location may be another's, too: all records of a JSON array can stand in one line.
    """

    status: Literal["stored", "unchanged", "rejected"]
    number: int
    id: str | None
    location: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """From the character `start` of a document's text on, this is where it stands in its file."""

    start: int
    location: Location


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A document with the marks in its text; a record has none, its source says the line."""

    document: Document
    marks: tuple[Mark, ...] = ()


def location(file: str, line: int | None) -> str:
    """`corpus.jsonl:17`, or only the file when the record is the whole of it."""
    return file if line is None else f"{file}:{line}"
