"""The documents of a store as lines for people and as records for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from search.answer import document_text, source_json
from search.errors import InputError
from search.store import Store
from search.terminal import printable
from search.types import Kind, Listed, Location, Source, StoredDocument, StoreInfo


def find(store: Store, document_id: str) -> StoredDocument:
    """By id, or by the path of a file that is one document. Raises InputError."""
    path = Path(document_id)  # of a file that is a link the name stays, as in its id
    document = store.get(document_id) or store.get(str(path.parent.resolve() / path.name))
    if document is None:
        raise InputError(f"no document has the id {document_id!r}; `two-stage list` shows them all")
    return document


def find_all(store: Store, document_ids: Sequence[str]) -> list[StoredDocument]:
    """Each as `find`. Raises InputError when one is not there."""
    return [find(store, document_id) for document_id in document_ids]


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
    """Every document as a record that `ingest` reads back: metadata beside id, title and text."""
    for listed in store.documents():
        document = store.get(listed.id)
        if document is None:  # removed since, or there only in part
            continue
        own = {"_id": document.id, "title": document.title, "text": document_text(document)}
        yield own | {
            f"metadata.{name}" if name in own else name: value
            for name, value in document.metadata.items()
        }


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
