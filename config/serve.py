"""The `serve:` section of the settings; `default.yaml` explains each name for users."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

MIN_KEY_LENGTH = 16
EXAMPLE = "expected {NAME: read KEY} or {NAME: write KEY}"


class Key(BaseModel):
    """One caller's key: what it may do, and what it is. A writer may read, too."""

    model_config = ConfigDict(frozen=True)

    may: Literal["read", "write"]
    secret: SecretStr


class ServeSettings(BaseModel):
    """Who may call the service, and how much it takes on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: dict[str, Key] = Field(repr=False)
    hosts: tuple[str, ...]
    log_queries: bool

    max_body_bytes: int = Field(ge=1024)
    max_upload_bytes: int = Field(ge=1024)
    max_queries: int = Field(ge=1)
    max_query_characters: int = Field(ge=1)
    max_texts: int = Field(ge=1)
    max_characters: int = Field(ge=1)
    max_wait_ms: float = Field(gt=0)

    cache_bytes: int = Field(ge=0)
    redis_url: SecretStr | None

    shadow: str | None
    canary: str | None
    canary_share: float = Field(ge=0, le=1)
    comparison_log: Path | None

    @field_validator("keys", mode="before")
    @classmethod
    def _from_words(cls, value: object) -> dict[str, object]:
        """{team: write KEY}, also as text from the environment. Messages never show a key."""
        value = _yaml(value)
        if not isinstance(value, Mapping):
            raise ValueError(EXAMPLE)
        keys = {str(name): _key(str(name), found) for name, found in value.items()}
        secrets = {key.secret.get_secret_value() for key in keys.values()}
        if len(secrets) < len(keys):
            raise ValueError("two names have the same key; each needs its own")
        return dict(keys)

    @field_validator("redis_url", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        """A compose file can only set a variable to nothing."""
        return None if value == "" else value

    @field_validator("hosts", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        """[search.local] from the environment, too."""
        value = _yaml(value)
        return tuple(value) if isinstance(value, list) else value


def _key(name: str, found: Any) -> Key:
    if isinstance(found, Key):
        return found
    may, _, secret = str(found).partition(" ")
    if may not in ("read", "write"):
        raise ValueError(f"the key of {name!r} does not say what it may do; {EXAMPLE}")
    if len(secret) < MIN_KEY_LENGTH or not secret.isascii() or " " in secret:
        raise ValueError(
            f"the key of {name!r} has to have at least {MIN_KEY_LENGTH} ASCII characters and no "
            "space, such as `openssl rand -hex 24` gives"
        )
    return Key(may="write" if may == "write" else "read", secret=SecretStr(secret))


def _yaml(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise ValueError(f"is not YAML; {EXAMPLE}") from None
