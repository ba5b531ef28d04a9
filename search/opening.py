"""Showing a hit's source file in the user's own editor, pager or viewer; no shell takes part."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from search.errors import InputError
from search.types import Hit

# Programs that go to a line, by how they are asked to.
_PLUS_LINE = {
    *("less", "more", "most", "vi", "vim", "nvim", "view", "nano", "pico", "micro", "kak"),
    *("emacs", "emacsclient", "joe", "jed", "ne", "gedit"),
}
_COLON_LINE = {"hx", "helix", "subl", "zed"}
# Formats that a text program cannot show.
_VIEWED = {".pdf", ".docx", ".html", ".htm", ".xhtml", ".gz"}


def open_hit(hit: Hit, environment: Mapping[str, str]) -> None:
    """Show the file that `hit` came from, at the passage's line where that is known.

    Raises InputError when there is no such file, or no program to show it.
    """
    file = hit.source.file if hit.source else ""
    if not hit.source or file == "-":
        raise InputError(f"hit {hit.rank} ({hit.id}) did not come from a file that is known")
    if not Path(file).is_file():
        raise InputError(f"hit {hit.rank} came from {file}, which is no longer there")
    line = hit.location.line if hit.location and hit.location.line else hit.source.line
    try:
        subprocess.run(command(file, line, environment), check=False)
    except OSError as error:
        raise InputError(f"{file} cannot be shown: {error}") from None


def command(file: str, line: int | None, environment: Mapping[str, str]) -> list[str]:
    """$VISUAL, $EDITOR or $PAGER, else less; a viewer for PDF and the like. Raises InputError."""
    if Path(file).suffix.lower() in _VIEWED:
        viewer = _installed("open" if sys.platform == "darwin" else "xdg-open")
        if viewer is not None:
            return [viewer, file]
    chosen = (environment.get(name) for name in ("VISUAL", "EDITOR", "PAGER"))
    words = _words(next(filter(None, chosen), None)) or [_installed("less") or _installed("more")]
    program = words[0]
    if program is None:
        raise InputError(f"found no program to show {file}: set EDITOR or PAGER to one")
    arguments = [word for word in words if word is not None]
    return [*arguments, *_at_line(Path(program).name, file, line)]


def _words(value: str | None) -> list[str | None]:
    try:
        return list(shlex.split(value or ""))
    except ValueError as error:
        raise InputError(f"EDITOR or PAGER has value {value!r}: {error}") from None


def _at_line(program: str, file: str, line: int | None) -> list[str]:
    if line is None:
        return [file]
    if program in _PLUS_LINE:
        return [f"+{line}", file]
    if program in ("code", "codium"):
        return ["--goto", f"{file}:{line}"]
    return [f"{file}:{line}"] if program in _COLON_LINE else [file]


def _installed(program: str) -> str | None:
    return shutil.which(program)
