"""Settings: typed and frozen, from YAML files, the environment and flags; the last one wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from config.flags import add_shared_flags, parse_set

if TYPE_CHECKING:
    from config.serve import ServeSettings
    from config.settings import (
        Loaded,
        Settings,
        change,
        load,
        load_all,
        plain,
        process_environment,
    )
    from config.weaviate import WeaviateSettings

__all__ = [
    "Loaded",
    "ServeSettings",
    "Settings",
    "WeaviateSettings",
    "add_shared_flags",
    "change",
    "load",
    "load_all",
    "parse_set",
    "plain",
    "process_environment",
]


def __getattr__(name: str) -> Any:
    """The rest on first use: pydantic and YAML take longer to import than `--help` may take."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from config import settings

    return getattr(settings, name)
