"""The `weaviate:` section of the settings; `default.yaml` explains each name for users."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class WeaviateSettings(BaseModel):
    """How to reach Weaviate, and the class to make or search; used only with a `weaviate_url`.

    None stands for the server's own choice, and is not compared with an existing class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: str = Field(pattern=r"^[A-Z][_0-9A-Za-z]*$")
    tenant: str | None = Field(pattern=r"^[A-Za-z0-9_-]+$")
    title_property: str | None
    text_properties: tuple[str, ...]
    vector_name: str | None

    api_key: SecretStr | None
    headers: dict[str, str] = Field(repr=False)
    grpc_host: str | None
    grpc_port: int | None = Field(ge=1, le=65535)
    grpc_tls: bool | None

    vectorizer: str = Field(pattern=r"^(auto|none|(text2vec|text2multivec|multi2vec)-[a-z0-9-]+)$")
    vectorizer_settings: dict[str, Any]
    vectors: Literal["auto", "ours", "server"]
    tokenization: Literal[
        "auto",
        "word",
        "lowercase",
        "whitespace",
        "trigram",
        "gse",
        "gse_ch",
        "kagome_ja",
        "kagome_kr",
    ]

    index: Literal["hnsw", "flat", "dynamic", "hfresh"] | None
    index_settings: dict[str, Any]
    quantization: Literal["rq", "bq", "sq", "pq"] | None
    shards: int | None = Field(ge=1)
    replication_factor: int | None = Field(ge=1)
    consistency_level: Literal["ONE", "QUORUM", "ALL"] | None

    timeout_connect: float = Field(gt=0)
    timeout_query: float = Field(gt=0)
    timeout_insert: float = Field(gt=0)
    batch_bytes: int = Field(ge=1024)
    concurrency: int = Field(ge=1, le=64)

    embedded_version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    embedded_binaries: Path | None
    embedded_data: Path
    embedded_port: int = Field(ge=1, le=65535)

    @field_validator("headers", "vectorizer_settings", "index_settings", mode="before")
    @classmethod
    def _mapping(cls, value: object) -> object:
        """The environment and flags give text: {efConstruction: 256}."""
        if not isinstance(value, str):
            return value
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError("is not YAML; expected for example {name: value}") from None

    @field_validator("text_properties", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        """The environment and flags give text: `abstract,body`."""
        if value is None:
            return ()
        if isinstance(value, str):
            return tuple(filter(None, re.split(r"[\s,]+", value.strip("[] "))))
        return value

    @field_validator("api_key", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        """`--set weaviate.api_key=` unsets a key that a file or a variable has set."""
        return None if value == "" else value

    @field_validator("vectorizer", mode="before")
    @classmethod
    def _none_is_a_vectorizer(cls, value: object) -> object:
        """Elsewhere `none` unsets a setting; Weaviate calls a class without a module so."""
        return "none" if value is None else value

    @field_validator("embedded_binaries", "embedded_data")
    @classmethod
    def _home(cls, value: Path | None) -> Path | None:
        """`~/weaviate` in a file or a variable, where no shell has resolved it."""
        return value.expanduser() if value else None
