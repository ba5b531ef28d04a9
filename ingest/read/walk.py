"""From the paths a user names to the files to read, and the format of each."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from mimetypes import MimeTypes
from pathlib import Path, PurePath
from stat import S_ISCHR, S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK

from ingest.read.source import InputFile, Options, is_rejects_file, looks_like_text
from ingest.record import Rejection
from search.errors import InputError
from search.terminal import printable

ESCAPED_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")
STDIN = "-"
UPLOAD = "upload:"
SUFFIXES = {
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    **dict.fromkeys((".md", ".markdown"), "markdown"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    **dict.fromkeys((".txt", ".text"), "text"),
    ".pdf": "pdf",
    ".docx": "docx",
}
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
BINARY = ("pdf", "docx")
# Text, but for programs; and copies that editors and this program leave behind.
NOT_FOR_READING = (
    *(".lock", ".map", ".min.css", ".min.js", ".ipynb"),
    *("~", ".bak", ".old", ".orig", ".partial", ".swp", ".tmp"),
)
NEVER_TEXT = ("image/", "audio/", "video/", "font/")
CORPUS = {"corpus.jsonl", "corpus.jsonl.gz"}
# Queries and judgments measure a search: found among its results, they would spoil the figures.
JUDGMENTS = {"queries.jsonl", "queries.jsonl.gz", "qrels"}
TYPES = MimeTypes(filenames=())  # the same on every machine
EXAMPLES = 3


@dataclass(slots=True)
class Skipped:
    """What folders hold that is not read: how many files of which suffix, and which for a reason.

    `without_text`: records, none of which has a field that holds text; `unread` are the ids of
    those files. `nothing_in`: folders without a file to read.
    """

    suffixes: Counter[str] = field(default_factory=Counter)
    loops: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    judgments: list[str] = field(default_factory=list)
    rejects: list[str] = field(default_factory=list)
    without_text: list[str] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    nothing_in: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What to tell the user, a line each."""
        lines = []
        if self.suffixes:
            kinds = [f"{suffix} {count:,}" for suffix, count in self.suffixes.most_common(8)]
            more = ", …" if len(self.suffixes) > 8 else ""
            total = _files(self.suffixes.total())
            lines.append(f"skipped {total} of other types: {', '.join(kinds)}{more}")
        for names, what in (
            (self.loops, "leading back to a folder above"),
            (self.empty, "without text"),
            (self.judgments, "of a BEIR corpus's queries and judgments"),
            (self.rejects, "of rejected records (name one to ingest it)"),
            (self.without_text, "of records without a text field (--text-field NAME)"),
        ):
            if names:
                more = ", …" if len(names) > EXAMPLES else ""
                examples = f"{', '.join(names[:EXAMPLES])}{more}"
                lines.append(f"skipped {_files(len(names))} {what}: {examples}")
        lines += [f"found no file to read in {name}" for name in self.nothing_in]
        return lines

    def as_json(self) -> dict[str, dict[str, int] | list[str]]:
        return {
            "files": dict(self.suffixes),
            "loops": self.loops,
            "empty": self.empty,
            "judgments": self.judgments,
            "rejects": self.rejects,
            "without_text": self.without_text,
            "nothing_in": self.nothing_in,
        }


def check_inputs(inputs: Iterable[str], options: Options) -> None:
    """InputError for a path that is not there, a file that is no text, or "-" named twice."""
    names = list(inputs)
    if names.count(STDIN) > 1:
        raise InputError("standard input (-) can be read only once, and it is named twice")
    for name in names:
        path = Path(name)
        if name == STDIN or path.is_dir() or _holds(path, _would_block):
            continue
        if not path.exists():
            raise InputError(f"{name}: no such file or folder")
        if _format(path, options) is None:
            raise InputError(
                f"{name}: files of this type cannot be read; expected text of any kind, or one of "
                f"{' '.join(SUFFIXES)} (text also as .gz)"
            )


def sources(
    inputs: Iterable[str], options: Options, skipped: Skipped
) -> Iterator[InputFile | Rejection]:
    """Every file to read, once and in a stable order; what is passed over is noted in `skipped`."""
    seen: set[str] = set()
    for name in inputs:
        nothing = True
        for source in _sources(name, options, skipped):
            nothing = False
            if isinstance(source, InputFile) and source.id:
                if source.id in seen:
                    continue
                seen.add(source.id)
            if isinstance(source, Rejection) or options.only is None or source.id in options.only:
                yield source
        if nothing:
            skipped.nothing_in.append(escaped(name))


def total_bytes(inputs: Iterable[str], options: Options) -> int | None:
    """The size of all there is to read; None when standard input or a pipe is part of it."""
    total = 0
    for source in sources(inputs, options, Skipped()):
        if isinstance(source, InputFile):
            if source.path is None or not source.id:
                return None
            with suppress(OSError):  # reading it will say what is wrong
                total += source.path.stat().st_size
    return total


def empty_folders(inputs: Iterable[str], options: Options) -> list[str]:
    """Those of the folders named in which there is nothing to read."""
    options = replace(options, only=None)
    return [
        name
        for name in inputs
        if Path(name).is_dir() and next(_sources(name, options, Skipped()), None) is None
    ]


def _sources(name: str, options: Options, skipped: Skipped) -> Iterator[InputFile | Rejection]:
    path = Path(name)
    if name == STDIN:
        yield InputFile(None, "standard input", "", options.format or "jsonl")
    elif path.is_dir():
        yield from _Folder(path, options, skipped).files(path, ())
    elif _holds(path, S_ISFIFO):  # of a pipe nobody knows what it will hold, or its name tomorrow
        yield InputFile(path, escaped(path), "", options.format or _by_name(path) or "jsonl")
    else:
        file_id = escaped((path.parent.resolve() / path.name).as_posix())
        yield InputFile(path, escaped(path), file_id, _format(path, options) or "text")


def uploaded(path: Path, name: str, options: Options) -> InputFile | Rejection:
    """A file that was sent under `name` and lies at `path` while it is read.

    Its documents come from "upload:NAME", which is no path that a file could have.
    """
    shown = printable(name)
    named = replace(options, format=options.format or _by_name(Path(shown)))
    form = _format(path, named)
    if form is None:
        return Rejection(
            "files of this type cannot be read; expected text of any kind, or one of "
            f"{' '.join(SUFFIXES)} (text also as .gz)",
            shown,
        )
    return InputFile(path, shown, UPLOAD + shown, form)


def is_upload(file: str) -> bool:
    """Whether a source's `file` is the name of something that was sent."""
    return file.startswith(UPLOAD)


class _Folder:
    """A folder that a user named, and how to read it."""

    def __init__(self, root: Path, options: Options, skipped: Skipped) -> None:
        self._root = root
        self._resolved = root.resolve()
        self._options = options
        self._skipped = skipped

    def files(
        self, folder: Path, above: tuple[tuple[int, int], ...]
    ) -> Iterator[InputFile | Rejection]:
        """The files at any depth below `folder`; `above` are the folders that it lies in."""
        try:
            status = folder.stat()
            children = sorted(folder.iterdir())
        except OSError as error:
            reason = f"the folder cannot be read: {error.strerror}"
            yield Rejection(reason, escaped(folder), incomplete=True)
            return
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            self._skipped.loops.append(escaped(folder))
            return
        for path in self._documents(children):
            if _holds(path, S_ISDIR):
                yield from self.files(path, (*above, identity))
            else:
                yield from self._file(path)

    def _file(self, path: Path) -> Iterator[InputFile]:
        include = self._options.include
        if include and not self._matches(path, include):
            return
        ignored = not include and _not_for_reading(path)
        form = None if ignored or _holds(path, _would_block) else _format(path, self._options)
        if form is None:
            self._skipped.suffixes[path.suffix.lower() or path.name] += 1
        elif is_rejects_file(path):
            self._skipped.rejects.append(escaped(path))
        else:
            file_id = (self._resolved / path.relative_to(self._root)).as_posix()
            yield InputFile(path, escaped(path), escaped(file_id), form, found=True)

    def _documents(self, children: list[Path]) -> Iterator[Path]:
        """All but what is hidden, excluded, or there to measure a search with."""
        names = {path.name for path in children}
        is_judged = "qrels" in names or names & CORPUS
        for path in children:
            if path.name.startswith(".") or self._matches(path, self._options.exclude):
                continue
            if is_judged and path.name in JUDGMENTS:
                self._skipped.judgments.append(escaped(path))
            else:
                yield path

    def _matches(self, path: Path, patterns: Iterable[str]) -> bool:
        """A pattern with a "/" is for the path below the root, one without for any name."""
        below = path.relative_to(self._root).as_posix()
        return any(
            fnmatchcase(below if "/" in pattern else path.name, pattern)
            for pattern in (pattern.rstrip("/") for pattern in patterns)
        )


def _format(path: Path, options: Options) -> str | None:
    """What to read a file as; None for what is no text, nor of a known format."""
    form = options.format or _by_name(path)
    if form is None:
        return "text" if looks_like_text(path) else None
    return form


def _by_name(path: Path) -> str | None:
    name = path.name.lower()
    form = SUFFIXES.get(PurePath(name.removesuffix(".gz")).suffix)
    return None if form in BINARY and name.endswith(".gz") else form


def _not_for_reading(path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    kind = TYPES.guess_type(name)[0] or ""
    return name.endswith(NOT_FOR_READING) or kind.startswith(NEVER_TEXT)


def _holds(path: Path, test: Callable[[int], bool]) -> bool:
    """Whether the file's mode passes; False for a broken link, or one we may not look at."""
    try:
        return test(path.stat().st_mode)
    except OSError:
        return False


def _would_block(mode: int) -> bool:
    return S_ISFIFO(mode) or S_ISSOCK(mode) or S_ISCHR(mode)


def escaped(path: Path | str) -> str:
    """A name that is no valid UTF-8 can be neither printed nor stored: its bytes are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def may_be_there(file: str) -> bool:
    """Whether a source's file is still there, or in a place where we are not let look."""
    if not PurePath(file).is_absolute():  # standard input, or an upload
        return False
    # Bytes that are no UTF-8 are escaped in a source.
    raw = ESCAPED_BYTE.sub(lambda byte: bytes.fromhex(byte[1].decode()), os.fsencode(file))
    return _is_file(Path(file)) or _is_file(Path(os.fsdecode(raw)))


def _is_file(path: Path) -> bool:
    try:
        return S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"
