"""The whole of ingest on one page: read → clean → compare → chunk → store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from hashlib import blake2b
from pathlib import PurePath
from typing import Literal, Protocol

from ingest.chunk import VERSION, Chunker
from ingest.fields import FieldNames, is_hash_of, known_id, to_document
from ingest.progress import Progress
from ingest.read.walk import is_upload, may_be_there
from ingest.record import Cleaned, Outcome, Record, RecordError, Rejection, location
from ingest.seen import Seen
from search.store import Store
from search.types import Document, Entry, Source, Stored

# A batch is what a kill can lose, and what lies in memory: enough for well-filled model batches.
BATCH_DOCUMENTS = 128
BATCH_CHARACTERS = 500_000
REJECTIONS_SHOWN = 10


@dataclass(slots=True)
class Counts:
    """What became of the records: read = stored + unchanged + rejected.

    Of those stored, `replaced` took the place of an earlier version, `taken_over` of a document
    from another source, and `renamed` of one that an earlier version of this program had stored
    under a shorter id.
    """

    read: int = 0
    stored: int = 0
    unchanged: int = 0
    rejected: int = 0
    removed: int = 0
    replaced: int = 0
    taken_over: int = 0
    renamed: int = 0
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A cleaned document on its way to the store, and the record it came from, the `number`th."""

    cleaned: Cleaned
    content_hash: str
    record: Record
    number: int = 0

    @property
    def document(self) -> Document:
        return self.cleaned.document


class Rejections(Protocol):
    """Where rejected records go."""

    def add(self, rejection: Rejection) -> None: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run works with. No store: a dry run before the first ingest.

    `take_over_hint` is what to do about an id that a document of another source has. `report` is
    called with the end of each record that a real run meets, as soon as it is sure; what it raises
    ends the run.
    """

    store: Store | None
    chunker: Chunker
    seen: Seen
    rejects: Rejections
    progress: Progress
    names: FieldNames
    dry_run: bool = False
    take_over: bool = False
    take_over_hint: str = "--take-over replaces it"
    report: Callable[[Outcome], None] = lambda outcome: None


class Pipeline:
    """One run. `counts` is right at any moment, also after an interrupt.

    `files`: where what was read stood, as a source names it; a file without a record is not in it.
    """

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.counts = Counts()
        self.files: set[str] = set()

    def run(self, items: Iterable[Record | Rejection]) -> None:
        """Take every record to its end: stored, unchanged or rejected."""
        for batch in batches(self._prepared(items)):
            self._load(batch)
            self.tools.progress.update(self.counts.read)

    def _prepared(self, items: Iterable[Record | Rejection]) -> Iterator[Prepared]:
        for item in items:
            self.counts.read += 1
            if item.source is not None and not _is_fed_back(item):
                self.files.add(item.source.file)
            if isinstance(item, Rejection):
                self._reject(item, self.counts.read)
                continue
            try:
                yield self._prepare(item)
            except RecordError as error:
                document_id = known_id(item, self.tools.names)
                self.tools.seen.protect_from_prune(document_id)
                self._reject(item.rejected(str(error)), self.counts.read, document_id)

    def _prepare(self, record: Record) -> Prepared:
        cleaned = to_document(record, self.tools.names)
        document_id = cleaned.document.id
        first = self.tools.seen.claim(document_id, record.file, record.line)
        if first is not None:
            raise RecordError(_duplicate(record, document_id, first))
        cleaned = self.tools.chunker.fit_title(cleaned)
        version = content_hash(cleaned, self.tools.chunker)
        return Prepared(cleaned, version, record, self.counts.read)

    def _load(self, batch: list[Prepared]) -> None:
        store = self.tools.store
        if store is None:
            self.counts.stored += len(batch)
            return
        older = {item.document.id: list(_older_ids(item)) for item in batch}
        held = store.stored([*older, *(name for names in older.values() for name in names)])
        new: list[Prepared] = []
        moved: dict[str, Source] = {}
        renamed: dict[str, list[str]] = {}
        for item in batch:
            document, there = item.document, held.get(item.document.id)
            if there is not None and there.content_hash == item.content_hash:
                self.counts.unchanged += 1
                self._report("unchanged", item)
                if document.source is not None and self._has_moved(there.source, document.source):
                    moved[document.id] = document.source
            elif self._may_replace(item, there):
                new.append(item)
            else:
                continue
            names = {name: held[name] for name in older[document.id] if name in held}
            renamed[document.id] = self._superseded(store, item, names)
        replacing = {item.document.id for item in new} & held.keys()
        if self.tools.dry_run:
            self.counts.stored += len(new)
            self.counts.replaced += len(replacing)
            return
        failed = self._store(store, new) if new else set()
        self.counts.replaced += len(replacing - failed)
        if moved:
            store.move(moved)
        gone = [name for i, names in renamed.items() if i not in failed for name in names]
        if gone:
            store.delete(gone)

    def _may_replace(self, item: Prepared, there: Stored | None) -> bool:
        """Whether a document may be stored under its id; else it is rejected here."""
        source, given = there.source if there is not None else None, item.document.source
        if source is None:
            return True
        # A rejected record may be a duplicate of the one that was used, which stays.
        # Two uploads may share a name: it does not show that one is the other's later version.
        is_later_version = (
            source == given
            if _is_fed_back(item.record)
            else _same_file(source, given) and not is_upload(source.file)
        )
        if is_later_version:
            return True
        if self.tools.take_over:
            self.counts.taken_over += 1
            return True
        owner = location(source.file, source.line)
        reason = f"id {item.document.id!r} belongs to {owner}; {self.tools.take_over_hint}"
        self._reject(item.record.rejected(reason), item.number, item.document.id)
        return False

    def _has_moved(self, there: Source | None, given: Source) -> bool:
        """Whether a document whose content is the same is to be noted as coming from `given`."""
        if there is None or there == given:
            return there is None
        return self.tools.take_over or _same_file(there, given) or not may_be_there(there.file)

    def _superseded(self, store: Store, item: Prepared, held: Mapping[str, Stored]) -> list[str]:
        """Those of the ids in `held` under which an earlier version stored this same file.

        Their source shows it or, where sources were not kept, their passages.
        """
        superseded = []
        for name, there in held.items():
            if there.source is not None:
                same = _same_file(there.source, item.document.source)
            else:
                stored = store.get(name)
                texts = [passage.text for passage in self._entry(item).passages]
                same = stored is not None and texts == [p.text for p in stored.passages]
            if same:
                superseded.append(name)
                self.tools.seen.protect_from_prune(name)
        self.counts.renamed += len(superseded)
        return superseded

    def _store(self, store: Store, new: list[Prepared]) -> set[str]:
        """A document counts as stored when the store says that it holds it; ids of the others."""
        entries = [self._entry(item) for item in new]
        failed = set()
        reasons = {failure.document_id: failure.reason for failure in store.put(entries)}
        held = store.stored([entry.document.id for entry in entries])
        for item, entry in zip(new, entries, strict=True):
            there = held.get(entry.document.id)
            if there is not None and there.content_hash == entry.content_hash:
                self.counts.stored += 1
                self._report("stored", item)
            else:
                reason = reasons.get(entry.document.id, "the store took it, but does not hold it")
                self._reject(item.record.rejected(reason), item.number, entry.document.id)
                failed.add(entry.document.id)
        return failed

    def _entry(self, item: Prepared) -> Entry:
        passages = self.tools.chunker.passages(item.cleaned)
        return Entry(item.document, passages, item.content_hash)

    def _report(self, status: Literal["stored", "unchanged"], item: Prepared) -> None:
        found = location(item.record.file, item.record.line)
        self.tools.report(Outcome(status, item.number, item.document.id, found))

    def _reject(self, rejection: Rejection, number: int, document_id: str | None = None) -> None:
        self.counts.rejected += 1
        self.counts.incomplete |= rejection.incomplete
        self.tools.report(
            Outcome("rejected", number, document_id, rejection.location, rejection.reason)
        )
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
    cutting: list[int | str] = [VERSION, chunker.max_tokens, chunker.overlap]
    if chunker.language != "en":  # which all was, before there was a setting: hashes stay the same
        cutting.append(chunker.language)
    content: list[object] = [document.title, document.text, dict(document.metadata), cutting]
    if cleaned.marks:
        content.append([(mark.start, *astuple(mark.location)) for mark in cleaned.marks])
    canonical = json.dumps(content, sort_keys=True)
    return blake2b(canonical.encode(), digest_size=16).hexdigest()


def _duplicate(record: Record, document_id: str, first: str) -> str:
    if is_hash_of(record, document_id):
        return f"the same record as {first} (records without an id are known by their content)"
    return f"duplicate id {document_id!r}; the record at {first} is used"


def _is_fed_back(item: Record | Rejection) -> bool:
    """Whether it stood in a rejects file, whose note says from which file and line it came first.

    What is read from its own file has that file's name, and its line there.
    """
    if item.source is None:
        return False
    file = PurePath(item.source.file)
    elsewhere = file.is_absolute() and file.name != PurePath(item.file).name
    return elsewhere or item.source.line != item.line


def _same_file(one: Source, other: Source | None) -> bool:
    return other is not None and one.file == other.file


def _older_ids(item: Prepared) -> Iterator[str]:
    """What a whole file was once known by: its path below the folder that was named, whichever."""
    if item.record.whole is None or item.document.source is None:
        return
    parts = PurePath(item.document.source.file).parts
    for start in range(1, len(parts)):
        yield "/".join(parts[start:])
