"""The tensors of a model's safetensors files, read through a memory map: nothing is copied here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.errors import ModelError

# How each stored type is seen by NumPy, which has no bfloat16.
TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
SIZES = {"F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1} | {
    name: kind.itemsize for name, kind in TYPES.items()
}
MAX_HEADER_BYTES = 100_000_000


class Tensor(NamedTuple):
    """One stored tensor: `data` as it lies in the file, and the name of its type there."""

    data: NDArray[Any]
    kind: str


class Weights(Mapping[str, NDArray[np.float32]]):
    """Tensors by name, as float32. Every file is checked whole when opened: ModelError."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._tensors: dict[str, Tensor] = {}
        for path in files:
            self._tensors |= _read(path)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return _as_float32(self._tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Without reading the values."""
        return self._tensors[name].data.shape

    def stored(self, name: str) -> NDArray[Any]:
        """float16 or float32 as it lies in the file, without a copy; other types as float32."""
        tensor = self._tensors[name]
        return tensor.data if tensor.kind in ("F16", "F32") else _as_float32(tensor)

    def rows(self, name: str, indices: NDArray[np.int32]) -> NDArray[np.float32]:
        """(*indices.shape, width): only the rows asked for are read from the file."""
        tensor = self._tensors[name]
        return _as_float32(Tensor(tensor.data[indices], tensor.kind))

    def rows_named(self, *endings: str) -> int | None:
        """The number of rows of the tensor whose name ends so; None where there is none."""
        found = (self.shape(name)[0] for name in self if name.endswith(endings))
        return next(found, None)


def _as_float32(tensor: Tensor) -> NDArray[np.float32]:
    if tensor.kind == "BF16":
        # A bfloat16 is the upper half of a float32.
        return (tensor.data.astype(np.uint32) << 16).view(np.float32)
    if tensor.kind not in TYPES:
        raise ModelError(
            f"found a tensor of type {tensor.kind}; expected one of {', '.join(TYPES)}"
        )
    return tensor.data.astype(np.float32, copy=False)


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of one file, whose size must be what its header says."""
    try:
        # Copy on write: OpenVINO takes only arrays that say they can be written to.
        raw = np.memmap(path, dtype=np.uint8, mode="c")
        start = 8 + int(raw[:8].view("<u8")[0])
        if not 8 < start <= min(len(raw), MAX_HEADER_BYTES):
            raise ValueError("the header is longer than the file")
        header = json.loads(raw[8:start].tobytes())
        header.pop("__metadata__", None)
        end = start + max(entry["data_offsets"][1] for entry in header.values())
        if end != len(raw):
            raise ValueError(f"found {len(raw)} bytes, the header says {end}")
        return {name: _tensor(raw[start:], **entry) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{path}: cannot be read as safetensors ({error}): copy or download it again"
        ) from None


def _tensor(
    raw: NDArray[np.uint8], dtype: str, shape: list[int], data_offsets: tuple[int, int]
) -> Tensor:
    first, end = data_offsets
    if (
        dtype not in SIZES
        or not 0 <= first <= end
        or end - first != SIZES[dtype] * math.prod(shape)
    ):
        raise ValueError(f"a tensor of type {dtype} and shape {shape} has {end - first} bytes")
    data = raw[first:end]
    return Tensor(data.view(TYPES[dtype]).reshape(shape) if dtype in TYPES else data, dtype)
