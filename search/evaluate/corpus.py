"""The evaluation store of a BEIR folder: ingested once, and again only when something changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from config import Settings
from ingest import run
from ingest.fields import FieldNames
from ingest.read.source import Options
from ingest.read.walk import check_inputs, total_bytes
from search.errors import InputError, StoreError
from search.evaluate.progress import Shown

CORPUS = ("corpus.jsonl", "corpus.jsonl.gz")
# Passages and vectors depend on these: another value gets a store of its own.
SHAPING = (
    "embedding_model",
    "embedding_max_tokens",
    "query_prefix",
    "passage_prefix",
    "chunk_overlap",
    "language",
)


def prepare(folder: Path, cache: Path, settings: Settings, shown: Shown) -> Settings:
    """These settings with an embedded store in `cache` that holds the folder's corpus.

    Raises InputError for a folder without one, StoreError when it could not be ingested whole.
    """
    corpus = _corpus_of(folder)
    shape = json.dumps([getattr(settings, name) for name in SHAPING])
    stem = f"store-{hashlib.sha256(shape.encode()).hexdigest()[:8]}"
    own = settings.model_copy(update={"store": cache / f"{stem}.db", "weaviate_url": None})
    stamp = cache / f"{stem}.json"
    state = _state(corpus)
    if not (own.store.is_file() and stamp.is_file() and stamp.read_text("utf-8") == state):
        cache.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)  # a run that is killed must not pass for a finished one
        _ingest(corpus, own, cache / "rejects.jsonl", shown)
        stamp.write_text(state, "utf-8")
    return own


def _ingest(corpus: Path, settings: Settings, rejects: Path, shown: Shown) -> None:
    inputs, options = [str(corpus)], Options()
    check_inputs(inputs, options)
    options.meter.total = total_bytes(inputs, options)
    job = run.Job(
        inputs=inputs,
        settings=settings,
        options=options,
        names=FieldNames(),
        rejects=rejects,
        prune=True,
        force=True,  # the store is this corpus's own, and nothing else's
        prune_after_rejects=True,
    )
    with shown.ingesting(corpus.parent.name, options.meter) as progress:
        try:
            summary = run.ingest(job, progress)
        except run.Interrupted:
            raise KeyboardInterrupt from None
        if summary.counts.rejected:
            progress.say(f"{summary.counts.rejected:,} documents were rejected, see {rejects}")
    if summary.problem:
        raise StoreError(f"{corpus}: {summary.problem}")


def _corpus_of(folder: Path) -> Path:
    for name in CORPUS:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder}: found no corpus.jsonl; give --store FILE if its documents are ingested already"
    )


def _state(corpus: Path) -> str:
    """Changes when the corpus file does; cheaper than reading all of it each time."""
    status = corpus.stat()
    return json.dumps([str(corpus.resolve()), status.st_size, status.st_mtime_ns])
