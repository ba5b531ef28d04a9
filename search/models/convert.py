"""Weights published as a torch pickle, once made into safetensors, without running what is in them.

A pickle names functions to call. Here only those are known that put tensors together, and any
other name is refused; torch is not needed.
"""

from __future__ import annotations

import json
import math
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from search.errors import ModelError
from search.models.folder import HUB_NAME, NEEDED_FILES, WEIGHTS

PICKLE = "pytorch_model.bin"
STORAGES = {
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
}


# What reading a damaged archive raises, besides the errors of its formats.
_MALFORMED = (StopIteration, LookupError, AttributeError, TypeError, ValueError)


class Storage(NamedTuple):
    """Numbers of one type, in the archive's file `key`."""

    key: str
    kind: str
    size: int


class Stored(NamedTuple):
    """One tensor: where its numbers begin in their storage, in numbers, and its shape."""

    storage: Storage
    start: int
    shape: tuple[int, ...]


def convert(source: str, target: Path) -> Path:
    """Make `target`, the model of `source` (a folder or a hub name) with safetensors; its path.

    Raises ModelError, and leaves no folder then.
    """
    if target.exists():
        raise ModelError(f"{target} exists already: name a folder that is to be made")
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = _from_hub(source)
    if not (folder / PICKLE).is_file():
        raise ModelError(f"{folder}: found no {PICKLE}, which is what can be converted")
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(folder, draft, ignore=shutil.ignore_patterns("*.bin", "*.pt", "onnx", ".*"))
        write_safetensors(folder / PICKLE, draft / WEIGHTS)
        draft.rename(target)
    except OSError as error:
        raise ModelError(f"{target} cannot be made: {error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    if not HUB_NAME.fullmatch(name):
        raise ModelError(f"{name!r} is neither a folder nor a name on the hub")
    try:
        return Path(snapshot_download(name, allow_patterns=[*NEEDED_FILES, PICKLE]))
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ModelError(f"model {name!r}: the hub could not give it ({reason})") from None


def write_safetensors(source: Path, target: Path) -> None:
    """The tensors of a torch archive, one after the other. Raises ModelError."""
    try:
        with zipfile.ZipFile(source) as archive, target.open("wb") as file:
            root = next(n for n in archive.namelist() if n.endswith("/data.pkl"))[
                : -len("data.pkl")
            ]
            with archive.open(f"{root}data.pkl") as content:
                tensors = _Tensors(content).load()
            if not isinstance(tensors, Mapping) or not tensors:
                raise ModelError(f"{source}: found no tensors by name in it")
            _write_header({str(k): v for k, v in tensors.items()}, file)
            for stored in tensors.values():
                _write_numbers(stored, archive, root, file)
    except ModelError:
        raise
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, *_MALFORMED) as error:
        raise ModelError(
            f"{source}: cannot be read as the archive that torch writes since 1.6 ({error!r})"
        ) from None


def _write_header(tensors: Mapping[str, Stored], file: BinaryIO) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, stored in tensors.items():
        kind, width = STORAGES[stored.storage.kind]
        start, end = end, end + width * math.prod(stored.shape)
        header[name] = {"dtype": kind, "shape": list(stored.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)


def _write_numbers(stored: Stored, archive: zipfile.ZipFile, root: str, file: BinaryIO) -> None:
    width = STORAGES[stored.storage.kind][1]
    with archive.open(f"{root}data/{stored.storage.key}") as numbers:
        numbers.seek(stored.start * width)
        wanted = width * math.prod(stored.shape)
        found = numbers.read(wanted)
    if len(found) != wanted:
        raise ModelError(f"a tensor has {len(found)} bytes, expected {wanted}: download it again")
    file.write(found)


class _Tensors(pickle.Unpickler):
    """Reads names and places of tensors; anything else that a pickle may name is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return name
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        }
        if (module, name) not in known:
            raise ModelError(
                f"these weights name {module}.{name}, which has no place among tensors: they are "
                "not converted, as reading them may run a program"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        _, kind, key, _, size = pid
        return Storage(str(key), str(kind), int(size))


def _tensor(storage: Storage, start: int, shape: Any, stride: Any, *_: Any) -> Stored:
    """Only rows in their order: weights are stored so."""
    expected, strides = 1, []
    for size in reversed(tuple(shape)):
        strides.append(expected)
        expected *= size
    real = [(n, s) for n, s in zip(shape, stride, strict=True) if n > 1]
    wanted = [(n, s) for n, s in zip(shape, reversed(strides), strict=True) if n > 1]
    if real != wanted:
        raise ModelError("a tensor is stored in another order than its rows: it is not converted")
    return Stored(storage, start, tuple(shape))
