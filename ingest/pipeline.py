"""The whole of ingest on one page: read → clean → compare → chunk → store → ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from hashlib import blake2b

from ingest.chunk import VERSION, Chunker
from ingest.fields import FieldNames, known_id, to_document
from ingest.ledger import Ledger, Row, pages
from ingest.progress import Progress
from ingest.record import Cleaned, Record, RecordError, Rejection
from ingest.rejects import Rejects
from ingest.seen import Seen
from search.store import Store
from search.types import Document, Entry

# A batch is what a kill can lose, and what lies in memory: enough for well-filled model batches.
BATCH_DOCUMENTS = 128
BATCH_CHARACTERS = 500_000
REJECTIONS_SHOWN = 10


@dataclass(slots=True)
class Counts:
    """What became of the records: read = stored + unchanged + rejected."""

    read: int = 0
    stored: int = 0
    unchanged: int = 0
    rejected: int = 0
    removed: int = 0
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A cleaned document on its way to the store, and the record it came from."""

    cleaned: Cleaned
    content_hash: str
    record: Record

    @property
    def document(self) -> Document:
        return self.cleaned.document


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run works with. No store: a dry run before the first ingest."""

    store: Store | None
    ledger: Ledger
    chunker: Chunker
    seen: Seen
    rejects: Rejects
    progress: Progress
    names: FieldNames
    dry_run: bool = False


class Pipeline:
    """One run. `counts` is right at any moment, also after an interrupt."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.counts = Counts()

    def run(self, items: Iterable[Record | Rejection]) -> None:
        """Take every record to its end: stored, unchanged or rejected."""
        for batch in batches(self._prepared(items)):
            self._load(batch)
            self.tools.progress.update(self.counts.read)

    def prune(self) -> None:
        """Remove what was ingested before and is no longer in the input, half documents too."""
        for page in self.tools.ledger.pages():
            self._remove(
                [document_id for document_id in page if document_id not in self.tools.seen]
            )
        if self.tools.store is None:
            return
        # What a killed run left in a store without transactions is in no ledger.
        for ids in pages(self.tools.store.ids()):
            gone = [document_id for document_id in ids if document_id not in self.tools.seen]
            known = self.tools.ledger.hashes(gone)
            self._remove([document_id for document_id in gone if document_id not in known])

    def _remove(self, ids: list[str]) -> None:
        if ids and not self.tools.dry_run and self.tools.store is not None:
            self.tools.store.delete(ids)
            self.tools.ledger.forget(ids)
        self.counts.removed += len(ids)

    def _prepared(self, items: Iterable[Record | Rejection]) -> Iterator[Prepared]:
        for item in items:
            self.counts.read += 1
            if isinstance(item, Rejection):
                self._reject(item)
                continue
            try:
                yield self._prepare(item)
            except RecordError as error:
                self.tools.seen.protect_from_prune(known_id(item, self.tools.names))
                self._reject(item.rejected(str(error)))

    def _prepare(self, record: Record) -> Prepared:
        cleaned = to_document(record, self.tools.names)
        document_id = cleaned.document.id
        first = self.tools.seen.claim(document_id, record.file, record.line)
        if first is not None:
            raise RecordError(f"duplicate id {document_id!r}; the record at {first} is used")
        cleaned = self.tools.chunker.fit_title(cleaned)
        return Prepared(cleaned, content_hash(cleaned, self.tools.chunker), record)

    def _load(self, batch: list[Prepared]) -> None:
        store = self.tools.store
        held = _hashes(store, [item.document.id for item in batch]) if store is not None else {}
        new = [item for item in batch if held.get(item.document.id) != item.content_hash]
        self.counts.unchanged += len(batch) - len(new)
        if store is None or self.tools.dry_run:
            self.counts.stored += len(new)
            return
        changing = {item.document.id for item in new}
        self.tools.ledger.adopt({i: held[i] for i in held if i not in changing})
        if new:
            self._store(store, new)

    def _store(self, store: Store, new: list[Prepared]) -> None:
        """The ledger is written last, and only for what the store says it holds."""
        entries = [self._entry(item) for item in new]
        reasons = {failure.document_id: failure.reason for failure in store.put(entries)}
        held = _hashes(store, [entry.document.id for entry in entries])
        rows = []
        for item, entry in zip(new, entries, strict=True):
            record = item.record
            if held.get(entry.document.id) == entry.content_hash:
                size = len(entry.passages)
                rows.append(
                    Row(entry.document.id, entry.content_hash, size, record.file, record.line)
                )
            else:
                reason = reasons.get(entry.document.id, "the store took it, but does not hold it")
                self._reject(record.rejected(reason))
        self.tools.ledger.write(rows)
        self.counts.stored += len(rows)

    def _entry(self, item: Prepared) -> Entry:
        passages = self.tools.chunker.passages(item.cleaned)
        return Entry(item.document, passages, item.content_hash)

    def _reject(self, rejection: Rejection) -> None:
        self.counts.rejected += 1
        self.counts.incomplete |= rejection.incomplete
        if self.counts.rejected <= REJECTIONS_SHOWN:
            self.tools.progress.say(f"rejected {rejection.location}: {rejection.reason}")
        elif self.counts.rejected == REJECTIONS_SHOWN + 1:
            where = (
                "which a real run writes to the rejects file"
                if self.tools.dry_run
                else "in the rejects file"
            )
            self.tools.progress.say(f"… and more, {where}")
        if not self.tools.dry_run:
            self.tools.rejects.add(rejection)


def _hashes(store: Store, ids: Sequence[str]) -> dict[str, str]:
    return {i: stored.content_hash for i, stored in store.stored(ids).items()}


def batches(items: Iterable[Prepared]) -> Iterator[list[Prepared]]:
    """Lists of documents, bounded in number and in characters."""
    batch: list[Prepared] = []
    characters = 0
    for item in items:
        batch.append(item)
        characters += len(item.document.text)
        if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def content_hash(cleaned: Cleaned, chunker: Chunker) -> str:
    """Changes with anything that changes what is stored, except id, source and embedding model."""
    document = cleaned.document
    cutting = [VERSION, chunker.max_tokens, chunker.overlap, chunker.language]
    marks = [(mark.start, *astuple(mark.location)) for mark in cleaned.marks]
    content = [document.title, document.text, dict(document.metadata), marks, cutting]
    canonical = json.dumps(content, sort_keys=True)
    return blake2b(canonical.encode(), digest_size=16).hexdigest()
