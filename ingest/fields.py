"""From a record's raw fields to a Document: which field is what, and metadata for the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from math import isfinite
from typing import Any

from ingest.clean import SURROGATES, clean_text, clean_title
from ingest.record import Cleaned, Mark, Record, RecordError, WholeFile
from search.types import TEXT_NAMES, TITLE_NAMES, Document, Location, Scalar, Value

ID_NAMES = ("_id", "id", "doc_id", "docid", "document_id", "uuid", "guid", "url", "uri")
MAX_ID_BYTES = 1024
PARAGRAPH_GAP = "\n\n"
INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The fields a user named; None: found by the usual names, in any case, first match wins."""

    id: str | None = None
    title: str | None = None
    text: str | None = None


def to_document(record: Record, names: FieldNames) -> Cleaned:
    """The cleaned document; its id exactly as given. RecordError says what is missing or wrong."""
    try:
        if record.whole is not None:
            return _from_file(record, record.whole)
        return Cleaned(_from_fields(record, names))
    except RecursionError:
        raise RecordError("the record is nested too deeply") from None


def _from_file(record: Record, whole: WholeFile) -> Cleaned:
    texts, marks, length = [], [], 0
    for section in whole.sections:
        text = clean_text(section.text, plain=True)
        if text:
            heading = clean_title(section.heading, plain=True) if section.heading else None
            marks.append(Mark(length, Location(section.line, section.page, heading)))
            texts.append(text)
            length += len(text) + len(PARAGRAPH_GAP)
    if not texts:
        raise RecordError("there is no text in this file")
    document = Document(
        id=whole.id or _hash_id({"text": texts}),
        title=clean_title(whole.title, plain=True),
        text=PARAGRAPH_GAP.join(texts),
        metadata=_metadata(_fields(record)),
        source=record.source,
    )
    return Cleaned(document, tuple(marks))


def _from_fields(record: Record, names: FieldNames) -> Document:
    fields = _fields(record)
    id_field = _id_field(fields, names.id)
    title_field = _title_field(fields, names.title)
    text_field = _text_field(fields, names.text)
    text = clean_text(_text(text_field, fields[text_field]))
    if not text:
        raise RecordError(_empty(text_field, "text"))
    used = {id_field, title_field, text_field}
    return Document(
        id=record_id(record, _get(fields, id_field)),
        title=clean_title(_spelt(_get(fields, title_field)) or ""),
        text=text,
        metadata=_metadata({key: fields[key] for key in fields if key not in used}),
        source=record.source,
    )


def missing_text(record: Record, names: FieldNames) -> str | None:
    """Why a record can have no text, however its fields are filled; None when there is a field."""
    if record.whole is not None:
        return None
    try:
        _text_field(_fields(record), names.text)
    except (RecordError, RecursionError) as error:
        return str(error)
    return None


def known_id(record: Record, names: FieldNames) -> str | None:
    """The id of a record that was rejected, if it has one that can be used."""
    if record.whole is not None:
        return record.whole.id or None
    try:
        fields = _fields(record)
        return record_id(record, _get(fields, _id_field(fields, names.id)))
    except (RecordError, RecursionError):
        return None


def is_hash_of(record: Record, document_id: str) -> bool:
    """Whether this id was made from the record's content, as there was none of its own."""
    if record.whole is not None:
        return not record.whole.id
    return document_id == _hash_id(record.fields)


def record_id(record: Record, value: object) -> str:
    """The id as spelt; without one, a hash of all fields of the record."""
    if value is None:
        return _hash_id(record.fields)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise RecordError(f"the id is {value!r:.60}, expected a string or a number")
    if not value.strip():
        raise RecordError("the id is empty; leave the field out to have one made")
    if "\0" in value or SURROGATES.search(value):
        raise RecordError(f"the id {value!r:.60} holds a character that cannot be stored")
    size = len(value.encode())
    if size > MAX_ID_BYTES:
        raise RecordError(f"the id has {size} bytes, expected at most {MAX_ID_BYTES}")
    return value


def _hash_id(fields: Mapping[str, Any]) -> str:
    canonical = json.dumps(fields, sort_keys=True, default=str)
    return blake2b(canonical.encode(), digest_size=16).hexdigest()


def _fields(record: Record) -> dict[str, Any]:
    """All fields by name; the value of an empty cell, as of JSON's null, is None."""
    found: dict[str, Any] = dict.fromkeys(record.columns)
    for name, value in _flatten(record.fields):
        if value is not None or name not in found:
            found[name] = value
    return found


def _get(fields: Mapping[str, Any], name: str | None) -> Any:
    return None if name is None else fields[name]  # a field's name may be the empty one


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """{"author": {"name": x}} → author.name; an object called `metadata` (BEIR) lends no prefix."""
    for key, value in fields.items():
        if isinstance(value, dict):
            lifted = not prefix and key == "metadata"
            for inner, leaf in _flatten(value, "" if lifted else f"{prefix}{key}."):
                yield (f"metadata.{inner}" if lifted and inner in fields else inner), leaf
        else:
            yield f"{prefix}{key}", value


def _id_field(fields: Mapping[str, Any], named: str | None) -> str | None:
    found = _find(fields, named, ID_NAMES, "id")
    if named is not None and fields[named] is None:
        raise RecordError(_empty(named, "an id"))
    return found


def _title_field(fields: Mapping[str, Any], named: str | None) -> str | None:
    """The first that holds a word or a number; what holds a list is metadata, whatever its name.

    An empty one is the title, too: `subject` in its place would be missing from the metadata.
    """
    titles = {key: value for key, value in fields.items() if _spelt(value) is not None}
    if named is None:
        return next(iter(_present(titles, TITLE_NAMES)), None)
    return named if _find(fields, named, TITLE_NAMES, "title") in titles else None


def _text_field(fields: Mapping[str, Any], named: str | None) -> str:
    found = _find(fields, named, TEXT_NAMES, "text")
    if found is None:
        listed = _listed(fields, "text")
        raise RecordError(
            f"no text: expected a field {TEXT_NAMES[0]!r} or the like; there {listed}"
        )
    if fields[found] is None:
        raise RecordError(_empty(found, "text"))
    return found


def _find(
    fields: Mapping[str, Any], named: str | None, usual: tuple[str, ...], role: str
) -> str | None:
    if named is None:
        # An empty `text` beside a filled `abstract`: take the filled one.
        return min(_present(fields, usual), key=lambda key: _emptiness(fields[key]), default=None)
    if named not in fields:
        raise RecordError(f"found no field {named!r} for the {role}; there {_listed(fields, role)}")
    return named


def _present(fields: Mapping[str, Any], usual: tuple[str, ...]) -> list[str]:
    """The fields that have a usual name, in any case; of two spellings the first with a value."""
    by_lower: dict[str, str] = {}
    for key in sorted(fields, key=lambda key: fields[key] is None):
        by_lower.setdefault(key.lower(), key)
    return [by_lower[name] for name in usual if name in by_lower]


def _emptiness(value: object) -> int:
    return 2 if value is None else int(value in ("", []))


def _text(name: str, value: object) -> str:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return PARAGRAPH_GAP.join(value)
    spelt = _spelt(value)
    if spelt is None:
        shown = json.dumps(value, default=str)
        raise RecordError(f"field {name!r} holds {shown:.40}, expected text")
    return spelt


def _spelt(value: object) -> str | None:
    """A string, or a number as it was written; None for all else, which is no text or title."""
    if isinstance(value, bool) or (isinstance(value, float) and not isfinite(value)):
        return None
    return str(value) if isinstance(value, str | int | float | Decimal) else None


def _empty(name: str, expected: str) -> str:
    return f"field {name!r} is empty, expected {expected}"


def _listed(fields: Mapping[str, Any], role: str) -> str:
    names = [repr(name)[:40] for name in fields]
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"are {shown} (--{role}-field NAME)" if names else "are no fields"


def _metadata(fields: Mapping[str, Any]) -> dict[str, Value]:
    there = {key: value for key, value in fields.items() if value is not None}
    found = {_storable(key): _value(value) for key, value in there.items()}
    return {key: value for key, value in found.items() if value != ()}


def _value(value: object) -> Value:
    if not isinstance(value, list):
        return _scalar(value)
    members = [member for member in value if member is not None]
    if any(isinstance(member, list | dict) for member in members):
        return json.dumps(value, ensure_ascii=False, default=str)  # nothing to filter on, but kept
    return tuple(map(_scalar, members))


def _scalar(value: object) -> Scalar:
    """What SQLite and JSON both hold; a number beyond 64 bits stays as it is spelt."""
    if isinstance(value, float | Decimal):
        return float(value) if isfinite(float(value)) else str(value)
    if isinstance(value, int):
        return value if value in INT64 else str(value)
    return _storable(str(value))


def _storable(text: str) -> str:
    return SURROGATES.sub("\ufffd", text).replace("\0", "")
