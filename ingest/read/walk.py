"""From the paths a user names to the files to read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from stat import S_ISCHR, S_ISDIR, S_ISFIFO, S_ISSOCK

from ingest.read.source import Source
from ingest.record import Rejection
from search.errors import InputError

STDIN = "-"
CORPUS = ("corpus.jsonl", "corpus.jsonl.gz")
QUERIES = ("queries.jsonl", "queries.jsonl.gz")
TABULAR = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
TEXTUAL = (*TABULAR, ".txt", ".text", ".md", ".markdown", ".html", ".htm", ".xhtml")
SUFFIXES = (*TEXTUAL, ".pdf", ".docx")


@dataclass(slots=True)
class Skipped:
    """What a folder holds that is not read: files by suffix, and links that lead back up."""

    suffixes: Counter[str] = field(default_factory=Counter)
    loops: list[str] = field(default_factory=list)


def supported(path: PurePath) -> bool:
    """Whether a file's name says it is of a readable format."""
    name = path.name.lower()
    if name.endswith(".gz"):
        return PurePath(name.removesuffix(".gz")).suffix in TEXTUAL
    return PurePath(name).suffix in SUFFIXES


def check_inputs(inputs: Iterable[str]) -> None:
    """InputError for a path that is not there, or a file of an unknown format."""
    for name in inputs:
        path = Path(name)
        if name == STDIN or path.is_dir():
            continue
        if not path.exists():
            raise InputError(f"{name}: no such file or folder")
        if not supported(path):
            raise InputError(
                f"{name}: files of this type cannot be read; expected one of "
                f"{' '.join(SUFFIXES)} (or .gz of a text format)"
            )


def sources(inputs: Iterable[str], skipped: Skipped) -> Iterator[Source | Rejection]:
    """Every file to read, in a stable order; what is passed over is noted in `skipped`."""
    for name in inputs:
        path = Path(name)
        if name == STDIN:
            yield Source(None, "standard input", STDIN)
        elif path.is_dir():
            yield from _folder(path, path, (), skipped)
        else:
            yield Source(path, _shown(path), _shown(path.name))


def total_bytes(inputs: Iterable[str]) -> int | None:
    """The size of all there is to read; None when standard input is part of it."""
    total = 0
    for source in sources(inputs, Skipped()):
        if isinstance(source, Source):
            if source.path is None:
                return None
            with suppress(OSError):  # reading it will say what is wrong
                total += source.path.stat().st_size
    return total


def _folder(
    folder: Path, root: Path, above: tuple[tuple[int, int], ...], skipped: Skipped
) -> Iterator[Source | Rejection]:
    try:
        status = folder.stat()
        children = sorted(folder.iterdir())
    except OSError as error:
        reason = f"the folder cannot be read: {error.strerror}"
        yield Rejection(reason, _shown(folder), incomplete=True)
        return
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        skipped.loops.append(_shown(folder))
        return
    for path in _documents(children):
        if _holds(path, S_ISDIR):
            yield from _folder(path, root, (*above, identity), skipped)
        elif supported(path) and not _holds(path, _would_block):
            yield Source(path, _shown(path), _shown(path.relative_to(root).as_posix()))
        else:
            skipped.suffixes[path.suffix.lower() or path.name] += 1


def _holds(path: Path, test: Callable[[int], bool]) -> bool:
    """Whether the file's mode passes; False for a broken link, or one we may not look at."""
    try:
        return test(path.stat().st_mode)
    except OSError:
        return False


def _would_block(mode: int) -> bool:
    return S_ISFIFO(mode) or S_ISSOCK(mode) or S_ISCHR(mode)


def _shown(path: Path | str) -> str:
    """A name that is no valid UTF-8 can be neither printed nor stored: its bytes are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _documents(children: list[Path]) -> list[Path]:
    """Hidden files left out; of a BEIR folder the corpus alone, never its queries or judgments."""
    visible = [path for path in children if not path.name.startswith(".")]
    names = {path.name for path in visible}
    tests = names & {*QUERIES, "qrels"}
    if tests and names & {*CORPUS}:
        return [path for path in visible if path.name in CORPUS][:1]
    if "qrels" in names:
        return [path for path in visible if path.name not in (*QUERIES, "qrels")]
    return visible
