"""What a program holds or was sent, stored as a run of `ingest` stores what lies in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from operator import attrgetter
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


class Adder:
    """Adds to one store, which has been opened to write. Threads may share it, and take turns."""

    def __init__(self, settings: Settings, store: Store, tokenizer: Tokenizer) -> None:
        """`tokenizer` is the embedding model's."""
        self._settings, self._store = settings, store
        self._chunker = Chunker(tokenizer, settings.chunk_overlap, settings.language)
        self._lock = Lock()

    def add(
        self, records: Sequence[Mapping[str, Any]], names: FieldNames | None = None
    ) -> list[Outcome]:
        """Store each record; in place of the one of its id, unless that came from a file.

        `names` of None: id, title and text are found by their usual names. Gives what became of
        the records, in their order. Raises StoreUnavailable while another process writes, and
        StoreError.
        """
        outcomes: list[Outcome] = []
        items = (Record(fields, ORIGIN, i) for i, fields in enumerate(records, start=1))
        hint = "give it another id"
        with self._lock, only_writer(self._settings), closing(Seen()) as seen:
            tools = _tools(
                self._store, self._chunker, seen, names or FieldNames(), outcomes.append, hint
            )
            Pipeline(tools).run(items)
        return sorted(outcomes, key=attrgetter("number"))


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
    hint = "take_over=true replaces it"
    with closing(Seen()) as seen:
        tools = _tools(store, chunker, seen, names, report, hint, take_over)
        pipeline = Pipeline(tools)
        pipeline.run(read_files(files, options, Skipped(), names))
        return pipeline.counts


def _tools(
    store: Store,
    chunker: Chunker,
    seen: Seen,
    names: FieldNames,
    report: Callable[[Outcome], None],
    take_over_hint: str,
    take_over: bool = False,
) -> Tools:
    """Those of a run that nobody watches."""
    silent = Silent()
    return Tools(
        store,
        chunker,
        seen,
        silent,
        silent,
        names,
        take_over=take_over,
        take_over_hint=take_over_hint,
        report=report,
    )


class Silent:
    """A progress that nobody watches; and no file is made of what was rejected."""

    def add(self, rejection: Rejection) -> None: ...

    def update(self, records: int) -> None: ...

    def add_embedded(self, passages: int) -> None: ...

    def say(self, line: str) -> None: ...
