"""What of a class that others made is title, text and metadata: read from its schema alone."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from search.errors import ConfigError, StoreError
from search.types import TEXT_NAMES, TITLE_NAMES, Kind, Scalar, Value

PARAGRAPH_GAP = "\n\n"
USUAL_TEXTS = (*TEXT_NAMES, "chunk", "overview", "transcript", "review")
# "bookTitle" is one; "authorName" would be none.
TITLE_ENDINGS = ("title", "headline", "heading")
TEXT_TYPES = ("text", "string")  # Weaviate called some texts so before 1.19
KINDS: dict[str, frozenset[Kind]] = {
    "text": frozenset({"text"}),
    "string": frozenset({"text"}),
    "uuid": frozenset({"text"}),
    "int": frozenset({"number"}),
    "number": frozenset({"number"}),
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"text", "number"}),  # 2020-05-01, or just 2020
}
"""The types that are read, and the kinds of value that they are compared with."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, slots=True)
class Property:
    """A property of the class; `type` is that of one value, also where it `is_list`."""

    name: str
    type: str
    is_list: bool
    tokenization: str | None
    filterable: bool
    searchable: bool

    @property
    def is_text(self) -> bool:
        return self.type in TEXT_TYPES

    @property
    def is_prose(self) -> bool:
        """Whether Weaviate cuts it into words; `field` marks names, codes and addresses."""
        return self.is_text and self.tokenization != "field"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which of a class's properties are read as what; `properties` are all that are read.

    `other_text` stands in where an object has nothing in the properties of `text`.
    """

    title: str | None
    text: tuple[str, ...]
    other_text: tuple[str, ...]
    properties: Mapping[str, Property]
    knows_null: bool

    @property
    def searchable(self) -> bool:
        """Whether BM25 has a property to search."""
        return any(known.searchable for known in self.properties.values())

    @property
    def read_as_text(self) -> list[str]:
        """The properties that an object's title and text are made from."""
        return [*([self.title] if self.title else []), *self.text, *self.other_text]

    def kinds(self) -> dict[str, frozenset[Kind]]:
        """The fields that filters can name, and the kinds of value each is compared with."""
        return {p.name: KINDS[p.type] for p in self.properties.values() if p.filterable}

    def title_of(self, values: Mapping[str, Any]) -> str:
        """An object's title; empty when it has none."""
        value = values.get(self.title) if self.title else None
        return "" if value is None else str(_plain(value)).strip()

    def text_of(self, values: Mapping[str, Any]) -> str:
        """An object's text; where it has none, its other texts, else its title."""
        for names in (self.text, self.other_text):
            parts = [part for name in names for part in _parts(values.get(name))]
            if parts:
                return PARAGRAPH_GAP.join(parts)
        return self.title_of(values)

    def metadata_of(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Everything else that an object has."""
        used = {self.title, *self.text}
        found = {name: values.get(name) for name in self.properties if name not in used}
        return {name: _value(value) for name, value in found.items() if value not in (None, [])}

    def __str__(self) -> str:
        return f"title={self.title or 'none'}, text={'+'.join(self.text)}"


def layout_of(
    definition: Mapping[str, Any], title: str | None = None, text: Sequence[str] = ()
) -> Layout:
    """How the class with this schema is read; `title` and `text` as far as a user named them.

    Raises ConfigError for a named property that cannot be it, StoreError where there is no text.
    """
    every = {known.name: known for known in _properties(definition)}
    for name in text:
        _require(definition, every, name, "weaviate.text_properties", TEXT_TYPES)
    if title is not None:
        _require(definition, every, title, "weaviate.title_property", tuple(KINDS))
    else:
        titles = [p for p in every.values() if p.is_text and not p.is_list and p.name not in text]
        title = _named(titles, TITLE_NAMES, TITLE_ENDINGS)
    texts = [p for p in every.values() if p.is_text and p.name != title]
    text = text or _usual_texts(texts)
    if not text and title is not None and every[title].is_text:
        text, title = [title], None
    if not text:
        raise StoreError(
            f"class {definition['class']} has no text to search: {listed(definition)}. A property "
            "of type text is needed (weaviate.text_properties names one)"
        )
    return Layout(
        title=title,
        text=tuple(text),
        other_text=tuple(p.name for p in texts if p.is_prose and p.name not in text),
        properties=every,
        knows_null=bool((definition.get("invertedIndexConfig") or {}).get("indexNullState")),
    )


def _usual_texts(texts: Sequence[Property]) -> list[str]:
    """The one with the likeliest name; where none has a usual one, all that are prose, or all."""
    usual = _named(texts, USUAL_TEXTS, USUAL_TEXTS)
    if usual is not None:
        return [usual]
    return [p.name for p in texts if p.is_prose] or [p.name for p in texts]


def listed(definition: Mapping[str, Any]) -> str:
    """The class's properties and their types, for an error."""
    found = [f"{p['name']} ({p['dataType'][0]})" for p in definition.get("properties") or ()]
    return f"its properties are {', '.join(found)}" if found else "it has no properties"


def _properties(definition: Mapping[str, Any]) -> Iterator[Property]:
    """Those of the types that are read: references, objects, blobs and the like are left alone."""
    for found in definition.get("properties") or ():
        spelt = found["dataType"][0]
        kind = spelt.removesuffix("[]")
        if kind in KINDS:
            yield Property(
                name=found["name"],
                type=kind,
                is_list=kind != spelt,
                tokenization=found.get("tokenization"),
                # What is left out is on; of texts a filter also reads the index of words.
                filterable=found.get("indexFilterable") is not False
                or bool(found.get("indexRangeFilters"))
                or bool(found.get("indexSearchable")),
                searchable=kind in TEXT_TYPES and found.get("indexSearchable") is not False,
            )


def _require(
    definition: Mapping[str, Any],
    every: Mapping[str, Property],
    name: str,
    setting: str,
    types: Sequence[str],
) -> None:
    """Raises ConfigError unless the class has the property, of one of these types."""
    if name in every and every[name].type in types:
        return
    spelt = {p["name"]: p["dataType"][0] for p in definition.get("properties") or ()}
    close = difflib.get_close_matches(name, every, 1)
    if name in spelt:
        problem = f"of type {spelt[name]}, and cannot be read so"
    elif close:
        problem = f"not there: is {close[0]!r} meant?"
    else:
        problem = "not there"
    raise ConfigError(
        f"{setting} names {name!r}, which is {problem}; of class {definition['class']}, "
        f"{listed(definition)}"
    )


def _named(
    properties: Sequence[Property], usual: Sequence[str], endings: Sequence[str]
) -> str | None:
    """The property with the likeliest of the usual names, or one that ends so: `review_body`."""
    by_name = {p.name.lower(): p.name for p in reversed(properties)}
    whole = [by_name[name] for name in usual if name in by_name]
    by_ending = {_last_word(p.name): p.name for p in reversed(properties)}
    ending = [by_ending[name] for name in endings if name in by_ending]
    return next(iter([*whole, *ending]), None)


def _last_word(name: str) -> str:
    """ "articleBody" and "article_body" → "body"."""
    words = _WORD.findall(name)
    return words[-1].lower() if words else ""


def _parts(value: object) -> list[str]:
    members = value if isinstance(value, list) else [value]
    return [member.strip() for member in members if isinstance(member, str) and member.strip()]


def _value(value: Any) -> Value:
    return tuple(map(_plain, value)) if isinstance(value, list) else _plain(value)


def _plain(value: Any) -> Scalar:
    """Dates as text in UTC, as Weaviate writes them; uuids as text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value if isinstance(value, str | int | float | bool) else str(value)
