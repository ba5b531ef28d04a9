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
        metadata=_metadata(dict(_flatten(record.fields))),
        source=record.source,
    )
    return Cleaned(document, tuple(marks))


def _from_fields(record: Record, names: FieldNames) -> Document:
    fields = dict(_flatten(record.fields))
    id_field = _find(fields, names.id, ID_NAMES, "id")
    title_field = _find(fields, names.title, TITLE_NAMES, "title")
    text_field = _find(fields, names.text, TEXT_NAMES, "text")
    if text_field is None:
        raise RecordError(_no_text(fields))
    text = clean_text(_text(text_field, fields[text_field]))
    used = {id_field, title_field, text_field}
    metadata = _metadata({key: fields[key] for key in fields if key not in used})
    if not text:
        raise RecordError(f"field {text_field!r} is empty, expected text")
    return Document(
        id=record_id(record, fields.get(id_field or "")),
        title=clean_title(_title(fields.get(title_field or ""))),
        text=text,
        metadata=metadata,
        source=record.source,
    )


def missing_text(record: Record, names: FieldNames) -> str | None:
    """Why a record can have no text, however its fields are filled; None when there is a field."""
    if record.whole is not None:
        return None
    try:
        fields = dict(_flatten(record.fields))
        return _no_text(fields) if _find(fields, names.text, TEXT_NAMES, "text") is None else None
    except (RecordError, RecursionError) as error:
        return str(error)


def known_id(record: Record, names: FieldNames) -> str | None:
    """The id of a record that was rejected, if it has one that can be used."""
    if record.whole is not None:
        return record.whole.id or None
    try:
        fields = dict(_flatten(record.fields))
        return record_id(record, fields.get(_find(fields, names.id, ID_NAMES, "id") or ""))
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


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """{"author": {"name": x}} → author.name; an object called `metadata` (BEIR) lends no prefix."""
    for key, value in fields.items():
        if isinstance(value, dict):
            lifted = not prefix and key == "metadata"
            for inner, leaf in _flatten(value, "" if lifted else f"{prefix}{key}."):
                yield (f"metadata.{inner}" if lifted and inner in fields else inner), leaf
        elif value is not None:
            yield f"{prefix}{key}", value


def _find(
    fields: Mapping[str, Any], named: str | None, usual: tuple[str, ...], role: str
) -> str | None:
    if named is not None:
        if named not in fields:
            raise RecordError(f"found no field {named!r} for the {role}; there {_listed(fields)}")
        return named
    by_lower = {key.lower(): key for key in reversed(list(fields))}
    present = [by_lower[name] for name in usual if name in by_lower]
    # An empty `text` beside a filled `abstract`: take the filled one.
    return next((key for key in present if fields[key] not in ("", [])), next(iter(present), None))


def _text(name: str, value: object) -> str:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return PARAGRAPH_GAP.join(value)
    if not isinstance(value, str):
        kind = type(value).__name__
        raise RecordError(f"field {name!r} holds {kind} {value!r:.40}, expected text")
    return value


def _title(value: object) -> str:
    return str(value) if isinstance(value, str | int | Decimal) else ""


def _no_text(fields: Mapping[str, Any]) -> str:
    return f"no text: expected a field {TEXT_NAMES[0]!r} or the like; there {_listed(fields)}"


def _listed(fields: Mapping[str, Any]) -> str:
    names = [repr(name)[:40] for name in fields]
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"are {shown} (--text-field NAME)" if names else "are no fields"


def _metadata(fields: Mapping[str, Any]) -> dict[str, Value]:
    found = {_storable(key): _value(value) for key, value in fields.items()}
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
    if isinstance(value, Decimal):
        return float(value) if isfinite(float(value)) else str(value)
    if isinstance(value, int):
        return value if value in INT64 else str(value)
    return _storable(str(value))


def _storable(text: str) -> str:
    return SURROGATES.sub("\ufffd", text).replace("\0", "")
