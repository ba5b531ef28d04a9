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


def find(store: Store, document_id: str) -> StoredDocument:
    """By id, or by the path of a file that is one document. Raises InputError."""
    document = _get(store, document_id)
    if document is not None:
        return document
    count = len(_from(store, document_id))
    if not count:
        raise _absent(document_id)
    place = _place(document_id)
    raise InputError(
        f"{_counted(count)} came from {place}, and one is shown at a time: "
        f"`two-stage list | grep -F {shlex.quote(str(place))}` lists their ids"
    )


def named(store: Store, name: str) -> tuple[str, list[str]]:
    """The document that `find` finds, or all from a file or folder: a line that says so, their ids.

    Raises InputError when there are none.
    """
    document = _get(store, name)
    if document is not None:
        return line(document), [document.id]
    ids = _from(store, name)
    if not ids:
        raise _absent(name)
    return f"{_counted(len(ids))} from {printable(str(_place(name)))}", ids


def _absent(document_id: str) -> InputError:
    return InputError(f"no document has the id {document_id!r}; `two-stage list` shows them all")


def _get(store: Store, document_id: str) -> StoredDocument | None:
    return store.get(document_id) or store.get(str(_place(document_id)))


def _from(store: Store, name: str) -> list[str]:
    """Ids of the documents whose source is this file, or lies below this folder."""
    if not name:  # which would stand for the current folder
        return []
    place = _place(name)
    return [
        listed.id
        for listed in store.documents()
        if listed.source is not None and Path(listed.source.file).is_relative_to(place)
    ]


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
