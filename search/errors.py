"""Every error a user can cause or meet; each message says what was found, expected, and the fix.

SearchError
├── ConfigError          a setting is unknown, or has the wrong type or value
├── InputError           a query, file, filter or flag that cannot be used
│   └── QueryTooLong     the query leaves no room for the passage
├── StoreError           the store cannot be opened, read or written
│   ├── StoreMissing     no store there yet: ingest first
│   ├── StoreUnavailable it does not answer, or is locked, full or read-only
│   └── ModelMismatch    another embedding model filled it
├── ModelError           a model cannot be loaded or run
│   └── CheckpointError  the folder is not a usable reranker
├── MissingExtra         an optional dependency is not installed
├── Overloaded           more work waits than the service takes on
└── Stopped              the service stopped, or the caller left, before this was done
"""

from __future__ import annotations

import math
from pathlib import Path


class SearchError(Exception):
    """Base of all; `exit_status` is what a command ends with."""

    exit_status = 1


class ConfigError(SearchError):
    """A setting is unknown, or has the wrong type or value."""

    exit_status = 2


class InputError(SearchError):
    """A query, file, filter or flag that cannot be used."""

    exit_status = 2


class QueryTooLong(InputError):
    """The query leaves no room for the passage."""


class StoreError(SearchError):
    """The store cannot be opened, read or written."""


class StoreMissing(StoreError):
    """There is no store where the settings say."""


class StoreUnavailable(StoreError):
    """The store does not answer, or is locked, full or read-only."""


class ModelMismatch(StoreError):
    """The store was filled by another embedding model."""


class ModelError(SearchError):
    """A model cannot be loaded or run."""


class CheckpointError(ModelError):
    """The folder is not a usable reranker."""


class MissingExtra(SearchError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        folder = Path(__file__).parents[1]
        clone = (folder / "pyproject.toml").is_file()
        wanted = f"-e '.[{extra}]' in {folder}" if clone else f"'two-stage-search[{extra}]'"
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed: pip install {wanted}"
        )


class Overloaded(SearchError):
    """More work waits than the service takes on; `seconds` later (a whole number) there is room."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, math.ceil(seconds))
        super().__init__(
            f"more work waits than this service takes on: try again in {self.seconds} s, or run "
            "another service"
        )


class Stopped(SearchError):
    """The service stopped, or the caller left, before this work was done."""
