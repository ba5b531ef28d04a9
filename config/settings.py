"""The names here are the only vocabulary for tuning; `default.yaml` explains each for users."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from config.serve import ServeSettings
from config.weaviate import WeaviateSettings
from search.errors import ConfigError
from search.types import RetrievalMode

DEFAULTS = Path(__file__).with_name("default.yaml")
PROFILES = Path(__file__).with_name("profiles.yaml")
DEFAULT_PROFILE = "english"
USER_FILE = Path("search.yaml")
ENVIRONMENT_PREFIX = "SEARCH_"
# Settings in groups, `weaviate.collection`: a group's name, and what it holds.
SECTIONS: Mapping[str, type[BaseModel]] = {"serve": ServeSettings, "weaviate": WeaviateSettings}
# Names that users of Weaviate already export; each stands for one setting.
KNOWN_VARIABLES = {"WEAVIATE_URL": "weaviate_url", "WEAVIATE_API_KEY": "weaviate.api_key"}
# Settings whose values are never shown.
SECRETS = ("serve.keys", "serve.redis_url", "weaviate.api_key", "weaviate.headers")

_log = logging.getLogger(__name__)


class Settings(BaseModel):
    """Every setting with its type and bounds. The values come from `config/default.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["english", "multilingual", "weaviate"]
    store: Path
    weaviate_url: str | None
    weaviate: WeaviateSettings

    embedding_model: str = Field(min_length=1)
    embedding_max_tokens: int = Field(ge=16)
    query_prefix: str
    passage_prefix: str
    chunk_overlap: int = Field(ge=0)
    language: str = Field(min_length=2)

    retrieval: RetrievalMode
    alpha: float = Field(ge=0, le=1)
    candidates: int = Field(ge=1, le=4000)
    limit: int = Field(ge=1)
    threshold: float = Field(ge=0, le=1)
    highlight: bool
    deadline_ms: float | None = Field(gt=0)

    history: bool

    rerank: bool
    early_stop: bool
    model: str = Field(min_length=1)
    models: Path
    device: str = Field(min_length=1)
    precision: Literal["auto", "fp32", "fp16", "bf16"]
    engine: Literal["auto", "openvino", "torch"]
    batch_tokens: int = Field(ge=64)
    max_length: int = Field(ge=16)
    window_overlap: int = Field(ge=0)
    blend: float | None = Field(ge=0)
    gate: float | None = Field(ge=0)
    gate_tuned_for: str | None

    serve: ServeSettings

    @field_validator("store", "model", "models", "embedding_model", mode="before")
    @classmethod
    def _home(cls, value: Any) -> Any:
        """`~/store.db` in a file or a variable, where no shell has resolved it."""
        return str(Path(value).expanduser()) if str(value).startswith("~/") else value


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and for each (`weaviate.collection`) its value and where that comes from."""

    settings: Settings
    values: Mapping[str, Any]
    origins: Mapping[str, str]


def load(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    files: Sequence[Path] | None = None,
) -> Settings:
    """Merge defaults, `files` (default: `search.yaml` here, if present), environment and flags.

    A flag of None counts as not given. Raises ConfigError naming key, value and expected type.
    """
    return load_all(flags, environment, files).settings


def load_all(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    files: Sequence[Path] | None = None,
) -> Loaded:
    """As `load`, and where each value comes from."""
    if files is None:
        files = [USER_FILE] if USER_FILE.is_file() else []
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    layers = [(str(path), _read(path)) for path in files]
    layers.append(("environment", _from_environment(environment or {})))
    layers.append(("flags", {k: _unset(v) for k, v in (flags or {}).items() if v is not None}))
    for origin, layer in (("default", _read(DEFAULTS)), *_profile(layers), *layers):
        flat = dict(_flat(layer, origin))
        values |= flat
        origins |= dict.fromkeys(flat, origin)
    try:
        settings = Settings.model_validate(_nested(values))
    except ValidationError as error:
        raise ConfigError(_explain(error, origins)) from None
    return Loaded(settings, {name: _value(settings, name) for name in values}, origins)


def _profile(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Any]]:
    """What the profile sets; of `layers` that name one, the last decides.

    Nothing for the default profile, which is what the defaults are, and for a wrong name, which is
    reported with the other settings.
    """
    name = next((layer["profile"] for _, layer in reversed(layers) if "profile" in layer), None)
    if name is None or name == DEFAULT_PROFILE:
        return []
    chosen = _read(PROFILES).get(str(name))
    return [(f"profile {name}", chosen)] if chosen else []


def change(settings: Settings, **changes: object) -> Settings:
    """The same settings but for these, which are checked. Raises ConfigError as `load` does."""
    if not changes:
        return settings
    try:
        return Settings.model_validate(dict(settings) | changes)
    except ValidationError as error:
        raise ConfigError(_explain(error, dict.fromkeys(changes, "argument"))) from None


def process_environment() -> Mapping[str, str]:
    """This process's variables. Besides the commands, nothing else reads them."""
    return os.environ


def plain(loaded: Loaded, name: str) -> Any:
    """A setting's value as JSON has it; "hidden" for a secret that is set."""
    value = loaded.values[name]
    if name in SECRETS and value:
        return "hidden"
    return str(value) if isinstance(value, Path) else value


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML settings: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: found a {type(content).__name__}, expected 'name: value' lines")
    return {str(name): value for name, value in content.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """SEARCH_CANDIDATES=20 sets `candidates`; two underscores go one level down; empty is unset.

    Other programs have variables of such names, as Kubernetes has SEARCH_SERVICE_HOST for a
    service called search: they are left alone, with a warning where one looks misspelt.
    """
    found = {name: environment[name] for name in environment if environment[name]}
    flat = {key: _unset(found[name]) for name, key in KNOWN_VARIABLES.items() if name in found}
    for name, value in found.items():
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
        if key in _known():
            flat[key] = _unset(value)
        elif similar := difflib.get_close_matches(key, _known(), 1, cutoff=0.85):
            variable = ENVIRONMENT_PREFIX + similar[0].upper().replace(".", "__")
            _log.warning("%s names no setting and is ignored; is %s meant?", name, variable)
    return flat


def _unset(value: Any) -> Any:
    """ "null" becomes None, as in YAML."""
    return None if value in ("null", "none") else value


def _known() -> list[str]:
    """The name of every setting; those of a section with the section's before a dot."""
    names = [name for name in Settings.model_fields if name not in SECTIONS]
    return names + [f"{name}.{key}" for name, kind in SECTIONS.items() for key in kind.model_fields]


def _flat(layer: Mapping[str, Any], origin: str) -> Iterator[tuple[str, Any]]:
    """{"weaviate": {"api_key": x}} → ("weaviate.api_key", x). Raises ConfigError."""
    for name, value in layer.items():
        if name not in SECTIONS:
            yield name, value
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}", below) for key, below in value.items())
        elif value is not None:
            example = next(iter(SECTIONS[name].model_fields))
            raise ConfigError(
                f"setting {name!r} ({origin}) is a section and has no value of its own; "
                f"found {value!r}, expected for example {name}.{example}"
            )


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """("weaviate.api_key", x) → {"weaviate": {"api_key": x}}."""
    nested: dict[str, Any] = {name: {} for name in SECTIONS}
    for name, value in values.items():
        section, _, key = name.partition(".")
        if key and section in SECTIONS:
            nested[section][key] = value
        else:
            nested[name] = value
    return nested


def _value(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        name = ".".join(path[: 2 if path[0] in SECTIONS else 1])
        origin = origins.get(name, "default")
        if problem["type"] == "extra_forbidden":
            similar = difflib.get_close_matches(name, _known(), 1)
            known = f"is {similar[0]!r} meant?" if similar else f"expected {', '.join(_known())}"
            lines.append(f"setting {name!r} ({origin}) is unknown; {known}")
        else:
            expected = problem["msg"][0].lower() + problem["msg"][1:]
            found = "" if name in SECRETS else f" has value {problem['input']!r}"
            lines.append(f"setting {'.'.join(path)!r} ({origin}){found}: {expected}")
    return "\n".join(lines)
