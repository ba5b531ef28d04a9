"""The documents of a store as lines for people and as records for programs."""

from __future__ import annotations

import html
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ingest.clean import clean_text
from search.answer import document_text, source_json
from search.errors import InputError
from search.store import Store
from search.terminal import printable
from search.types import Kind, Listed, Location, Source, StoredDocument, StoreInfo


def find(store: Store, name: str) -> StoredDocument:
    """By id, or by the path of a file that is, or holds, one document. Raises InputError."""
    ids = ids_of(store, name)
    document = store.get(ids[0]) if len(ids) == 1 else None
    if document is not None:
        return document
    place = _place(name)
    raise InputError(
        f"{_counted(len(ids))} came from {place}, and one is shown at a time: "
        f"`two-stage list | grep -F {shlex.quote(str(place))}` lists their ids"
    )


def chosen_by(store: Store, name: str, certain: bool = False) -> tuple[str, list[str]]:
    """What goes by this name, as a line for people, and the ids; see `ids_of`."""
    ids = ids_of(store, name, certain)
    document = store.get(ids[0]) if len(ids) == 1 else None
    if document is not None:
        return line(document), ids
    return f"{_counted(len(ids))} from {printable(str(_place(name)))}", ids


def ids_of(store: Store, name: str, certain: bool = False) -> list[str]:
    """The document of this id, else all whose source is this file, or lies below this folder.

    `certain`: nobody will be asked, so that a bare word, which may be an id that is gone already,
    is not taken for a path. Raises InputError when there are none.
    """
    place = _place(name)
    for document_id in (name, str(place)):
        if store.get(document_id) is not None:
            return [document_id]
    is_path = bool(name) and not (certain and place.name == name)
    sources = ((one.id, one.source.file) for one in store.documents() if one.source is not None)
    ids = [
        document_id
        for document_id, file in sources
        if file == name or (is_path and Path(file).is_relative_to(place))
    ]
    if not ids:
        hint = "" if is_path else f" (and write ./{name} for a file or folder)"
        raise InputError(f"no document has the id {name!r}; `two-stage list` shows them all{hint}")
    return ids


def _place(name: str) -> Path:
    """A path as sources have it: of a file that is a link the name stays."""
    path = Path(name)
    with suppress(OSError):  # an id may be longer than a path can be
        if path.is_dir():
            return path.resolve()
    return path.parent.resolve() / path.name


def _counted(count: int) -> str:
    return "1 document" if count == 1 else f"{count:,} documents"


def line(listed: Listed | StoredDocument) -> str:
    """Id, title and source, separated by tabs; what is not known, or said by the id, is empty."""
    shown, source = printable(listed.id), location(listed.source)
    return f"{shown}\t{printable(listed.title)}\t{'' if source == shown else source}"


def listed_json(listed: Listed) -> dict[str, Any]:
    return {
        "id": listed.id,
        "title": listed.title,
        "source": source_json(listed.source),
        "passages": listed.passages,
    }


def text(document: StoredDocument) -> str:
    """All that is stored of one document, passage by passage."""
    lines = [f"id        {printable(document.id)}"]
    if document.title:
        lines.append(f"title     {printable(document.title)}")
    if document.source:
        lines.append(f"source    {location(document.source)}")
    for name, value in document.metadata.items():
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        lines.append(printable(f"metadata  {name} = {shown}"))
    for number, passage in enumerate(document.passages, start=1):
        where = printable(_where(passage.location))
        lines.append(f"\n[{number} of {len(document.passages)}{where}]")
        lines.append(printable(passage.text, keep="\n\t"))
    return "\n".join(lines)


def exported(store: Store) -> Iterator[dict[str, Any]]:
    """Every document as a record that `ingest` reads back: metadata beside id, title and text.

    Text that would be taken for markup is escaped as HTML has it.
    """
    for listed in store.documents():
        document = store.get(listed.id)
        if document is None:  # removed since, or there only in part
            continue
        title, text = _escaped(document.title), _escaped(document_text(document))
        own = {"_id": document.id, "title": title, "text": text}
        yield own | {
            f"metadata.{name}" if name in own else name: value
            for name, value in document.metadata.items()
        }


def _escaped(text: str) -> str:
    """What cleaning makes this text of: the text itself, unless that looks like markup."""
    return text if clean_text(text) == text else html.escape(text, quote=False)


def statistics(info: StoreInfo, fields: Mapping[str, frozenset[Kind]]) -> str:
    """What the store holds, for people."""
    lines = [
        f"store      {printable(info.location)} ({info.kind} {info.version})",
        f"documents  {info.documents:,}",
        f"passages   {info.passages:,}",
    ]
    if info.embedding:
        name, dimensions = printable(info.embedding.name), info.embedding.dimensions
        lines.append(f"vectors    {name}, {dimensions} dimensions")
    lines += [f"note       {printable(note)}" for note in info.notes]
    for name in sorted(fields):
        lines.append(f"field      {printable(name)} ({', '.join(sorted(fields[name]))})")
    return "\n".join(lines)


def statistics_json(info: StoreInfo, fields: Mapping[str, frozenset[Kind]]) -> dict[str, Any]:
    return asdict(info) | {"fields": {name: sorted(fields[name]) for name in sorted(fields)}}


def location(source: Source | None) -> str:
    """file:line, as editors and grep write it; empty when it is not known."""
    if source is None:
        return ""
    file = "standard input" if source.file == "-" else printable(source.file)
    return file if source.line is None else f"{file}:{source.line}"


def _where(found: Location | None) -> str:
    if found is None:
        return ""
    parts = (("line", found.line), ("page", found.page), ("under", found.heading))
    return "".join(f", {name} {value}" for name, value in parts if value is not None)
