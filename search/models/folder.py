"""A model's folder: found by name, read and fingerprinted without loading it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.errors import ModelError
from search.models.remembered import remember

HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
NEEDED_FILES = ["*.json", "model*.safetensors", "*.txt", "*.model"]
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
# Keys of config.json that change no output, so that saving a model again keeps it the same one.
_NO_EFFECT = re.compile(
    r"_name_or_path|architectures|(torch_)?dtype|transformers_version|use_cache|\w*dropout\w*"
    r"|initializer_\w+|id2label|label2id|problem_type|(bos|eos|sep|cls)_token_id|output_\w+"
    r"|gradient_checkpointing|tie_word_embeddings|auto_map"
)


def find_folder(name: str) -> Path:
    """The folder `name`, or a hub model's: from the local Hugging Face cache, else downloaded.

    Raises ModelError when there is neither, saying what to do without a network.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if not HUB_NAME.fullmatch(name):
        raise ModelError(
            f"model {name!r}: found no such folder; expected a folder with config.json and "
            f"{WEIGHTS}, or a hub name such as BAAI/bge-reranker-v2-m3"
        )
    return _from_hub(name)


def find_local(name: str) -> Path | None:
    """As `find_folder`, but nothing is downloaded: None for what would have to be."""
    folder = Path(name).expanduser()
    if folder.is_dir() or not HUB_NAME.fullmatch(name):
        return find_folder(name)
    try:
        return _snapshot(name, local_only=True)
    except (OSError, ValueError):
        return None


def _snapshot(name: str, local_only: bool) -> Path | None:
    """A hub model's folder in the cache; None where the cache has not all of it."""
    from huggingface_hub import snapshot_download

    found = snapshot_download(name, allow_patterns=NEEDED_FILES, local_files_only=local_only)
    folder = Path(found)
    whole = (folder / "config.json").is_file() and weight_files(folder)
    return folder if whole or not local_only else None


def _from_hub(name: str) -> Path:
    for local_only in (True, False):
        try:
            folder = _snapshot(name, local_only)
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            continue
        if folder is not None:
            return folder
    raise ModelError(
        f"model {name!r}: found no such folder here and nothing in the local Hugging Face cache, "
        f"and the hub could not give it ({reason}). Check the name; without a network, run "
        f"`hf download {name}` on a machine that has one and give the copied folder instead"
    ) from None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, one or the shards of its index; [] when there are none.

    Raises ModelError when the index names a file that is not there.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / WEIGHTS_INDEX).is_file():
        return []
    try:
        named = read_json(folder / WEIGHTS_INDEX)["weight_map"]
        shards = sorted({str(shard) for shard in named.values()})
    except (KeyError, AttributeError):
        raise ModelError(
            f"{folder / WEIGHTS_INDEX}: found no weight_map, which names the file of each tensor: "
            "copy or download it again"
        ) from None
    for shard in shards:
        if not (folder / shard).is_file():
            raise ModelError(f"{folder}: {WEIGHTS_INDEX} names {shard}, which is not there")
    return [folder / shard for shard in shards]


def fingerprint(folder: Path) -> str:
    """12 hex digits of the SHA-256 over weights and tokenizer; remembered until a file changes."""
    files = [*weight_files(folder), folder / "tokenizer.json"]
    try:
        return remember("fingerprint", files, lambda: _hash_of_files(files))
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read: {error}") from None


def config_fingerprint(config: dict[str, Any], *more: str) -> str:
    """12 hex digits over what a config says of the computation, and over `more`."""
    kept = {
        key: value
        for key, value in config.items()
        if value not in (None, False, "absolute") and not _NO_EFFECT.fullmatch(key)
    }
    content = json.dumps([kept, *more], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _hash_of_files(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; ModelError where the file is missing, broken or something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: found no {path.name}; the folder is incomplete") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: found a {type(content).__name__}, expected a JSON object")
    return content


LENGTHS = range(32, 1_000_000)
"""What may be a model's length: transformers writes a number beyond it where a tokenizer knows of
no limit, and fewer tokens would leave no room beside a query."""


def usual_length(folder: Path) -> int | None:
    """The longest input that a model was trained for, as its tokenizer's settings say it."""
    path = folder / "tokenizer_config.json"
    length = read_json(path).get("model_max_length") if path.is_file() else None
    return length if isinstance(length, int) and length in LENGTHS else None


def usable_positions(config: dict[str, Any]) -> int | None:
    """The longest input in tokens, specials included; None when the architecture has no limit.

    RoBERTa kinds number positions from `padding_idx + 1`, so that two of them are never used.
    """
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions <= 0:
        return None
    if "roberta" in str(config.get("model_type", "")) or config.get("model_type") == "camembert":
        padding = config.get("pad_token_id")
        return positions - 1 - (padding if isinstance(padding, int) else 1)
    return positions
