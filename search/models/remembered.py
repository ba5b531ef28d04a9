"""What was found out about files, kept in the user's cache until one of them changes.

Hashing 90 MB of weights and probing a checkpoint take longer than answering a query, and give the
same result each time. A cache that cannot be read or written only costs that time again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from threading import get_ident

CACHE = Path("~/.cache/two-stage-search/models.json")
MAX_ENTRIES = 200


def remember(question: str, files: Sequence[Path], compute: Callable[[], str]) -> str:
    """The answer to `question` about `files`; computed when new, or when a file has changed."""
    try:
        key = _key(question, files)
    except OSError:
        return compute()
    entries = _read()
    if key in entries:
        return entries[key]
    answer = compute()
    _write(_read() | {key: answer})
    return answer


def _key(question: str, files: Sequence[Path]) -> str:
    """`ctime` moves with every write, rename and chmod, also where `mtime` was set back."""
    stats = [(path.resolve(), path.stat()) for path in files]
    state = [(str(p), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for p, s in stats]
    return f"{question} {blake2b(json.dumps(state).encode(), digest_size=16).hexdigest()}"


def _read() -> dict[str, str]:
    try:
        entries = json.loads(CACHE.expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home folder
        return {}
    if not isinstance(entries, dict):
        return {}
    return {key: value for key, value in entries.items() if isinstance(value, str)}


def _write(entries: dict[str, str]) -> None:
    """Whole or not at all, whoever else writes: of two at once, one answer may be lost."""
    with contextlib.suppress(OSError, RuntimeError):
        path = CACHE.expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{get_ident()}")
        newest = dict(list(entries.items())[-MAX_ENTRIES:])
        temporary.write_text(json.dumps(newest, indent=1), encoding="utf-8")
        temporary.replace(path)
