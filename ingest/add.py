"""What a program holds or was sent, stored as a run of `ingest` stores what lies in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from config import Settings
from ingest.chunk import Chunker, Tokenizer
from ingest.fields import FieldNames
from ingest.pipeline import Counts, Pipeline, Tools
from ingest.read import read_files
from ingest.read.source import InputFile, Options
from ingest.read.walk import Skipped
from ingest.record import Outcome, Record, Rejection
from ingest.seen import Seen
from search.store import Embedder, Store
from search.store.lock import only_writer
from search.store.open import open_store

ORIGIN = "documents"


@dataclass(slots=True)
class Added:
    """What became of the records. A rejection's `line` is the record's number, from 1."""

    counts: Counts = field(default_factory=Counts)
    rejections: list[Rejection] = field(default_factory=list)

    def add(self, rejection: Rejection) -> None:
        self.rejections.append(rejection)


class Adder:
    """Adds to one store, which has been opened to write. Threads may share it, and take turns."""

    def __init__(self, settings: Settings, store: Store, tokenizer: Tokenizer) -> None:
        """`tokenizer` is the embedding model's."""
        self._settings, self._store = settings, store
        self._chunker = Chunker(tokenizer, settings.chunk_overlap, settings.language)
        self._lock = Lock()

    def add(self, records: Sequence[Mapping[str, Any]], names: FieldNames | None = None) -> Added:
        """Store each record; in place of the one of its id, unless that came from a file.

        `names` of None: id, title and text are found by their usual names. Raises StoreUnavailable
        while another process writes, and StoreError.
        """
        added = Added()
        with self._lock, only_writer(self._settings), closing(Seen()) as seen:
            tools = Tools(
                self._store,
                self._chunker,
                seen,
                added,
                Silent(),
                names or FieldNames(),
                take_over_hint="give it another id",
            )
            pipeline = Pipeline(tools)
            pipeline.run(Record(fields, ORIGIN, i) for i, fields in enumerate(records, start=1))
            added.counts = pipeline.counts
        return added


@contextmanager
def writing(settings: Settings, embedder: Embedder) -> Iterator[Store]:
    """The settings' store, for its only writer. Raises StoreUnavailable where another writes."""
    with (
        only_writer(settings),
        closing(open_store(settings, create=True, embedder=embedder)) as store,
    ):
        yield store


def add_files(
    store: Store,
    chunker: Chunker,
    files: Iterable[InputFile | Rejection],
    options: Options,
    names: FieldNames,
    take_over: bool,
    report: Callable[[Outcome], None],
) -> Counts:
    """Store what was sent as files; `report` hears of each record's end, and `store` is written to.

    What `report` raises ends the run; what was stored by then stays.
    """
    with closing(Seen()) as seen:
        silent = Silent()
        tools = Tools(
            store,
            chunker,
            seen,
            silent,
            silent,
            names,
            take_over=take_over,
            take_over_hint="take_over=true replaces it",
            report=report,
        )
        pipeline = Pipeline(tools)
        pipeline.run(read_files(files, options, Skipped(), names))
        return pipeline.counts


class Silent:
    """A progress that nobody watches; and no file is made of what was rejected."""

    def add(self, rejection: Rejection) -> None: ...

    def update(self, records: int) -> None: ...

    def add_embedded(self, passages: int) -> None: ...

    def say(self, line: str) -> None: ...
