"""The names here are the only vocabulary for tuning; `default.yaml` explains each for users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from config.weaviate import WeaviateSettings
from search.errors import ConfigError
from search.types import RetrievalMode

DEFAULTS = Path(__file__).with_name("default.yaml")
USER_FILE = Path("search.yaml")
ENVIRONMENT_PREFIX = "SEARCH_"
# Names that users of Weaviate already export; each stands for one setting.
KNOWN_VARIABLES = {"WEAVIATE_URL": "weaviate_url", "WEAVIATE_API_KEY": "weaviate.api_key"}


class Settings(BaseModel):
    """Every setting with its type and bounds. The values come from `config/default.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: Path
    weaviate_url: str | None
    weaviate: WeaviateSettings

    embedding_model: str = Field(min_length=1)
    embedding_max_tokens: int = Field(ge=16)
    query_prefix: str
    passage_prefix: str
    chunk_overlap: int = Field(ge=0)

    retrieval: RetrievalMode
    alpha: float = Field(ge=0, le=1)
    candidates: int = Field(ge=1, le=4000)
    limit: int = Field(ge=1)
    threshold: float = Field(ge=0, le=1)

    rerank: bool
    model: str = Field(min_length=1)
    device: str = Field(min_length=1)
    precision: Literal["auto", "fp32", "fp16", "bf16"]
    batch_tokens: int = Field(ge=64)
    max_length: int = Field(ge=16)
    window_overlap: int = Field(ge=0)
    blend: float | None = Field(ge=0)
    gate: float | None = Field(ge=0)


def load(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    files: Sequence[Path] | None = None,
) -> Settings:
    """Merge defaults, `files` (default: `search.yaml` here, if present), environment and flags.

    A flag of None counts as not given. Raises ConfigError naming key, value and expected type.
    """
    if files is None:
        files = [USER_FILE] if USER_FILE.is_file() else []
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    layers = [(str(path), _read(path)) for path in (DEFAULTS, *files)]
    layers.append(("environment", _from_environment(environment or {})))
    layers.append(("flags", _nest({k: v for k, v in (flags or {}).items() if v is not None})))
    for source, layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = merged[key] | value if both else value
            origin[key] = source
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, origin)) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML settings: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: found a {type(content).__name__}, expected 'name: value' lines")
    return content


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """SEARCH_CANDIDATES=20 sets `candidates`; two underscores go one level down; empty is unset."""
    found = {name: environment[name] for name in environment if environment[name]}
    flat = {key: found[name] for name, key in KNOWN_VARIABLES.items() if name in found}
    for name, value in found.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            flat[key] = value
    return _nest(flat)


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"weaviate.api_key": x} → {"weaviate": {"api_key": x}}; "null" becomes None, as in YAML."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, leaf = key.split(".")
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
        level[leaf] = None if value in ("null", "none") else value
    return nested


def _explain(error: ValidationError, origin: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        source = origin.get(str(problem["loc"][0]), "defaults")
        if problem["type"] == "extra_forbidden":
            fields = WeaviateSettings if len(problem["loc"]) > 1 else Settings
            known = ", ".join(sorted(fields.model_fields))
            lines.append(f"setting {key!r} ({source}) is unknown; the settings are: {known}")
        else:
            expected = problem["msg"][0].lower() + problem["msg"][1:]
            lines.append(f"setting {key!r} ({source}) has value {problem['input']!r}: {expected}")
    return "\n".join(lines)
