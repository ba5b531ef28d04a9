"""Where a model runs, and with how many bits."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from search.errors import ConfigError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Placement:
    """A device that is there and a precision that it can do."""

    device: torch.device
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.precision]


def place(device: str = "auto", precision: str = "auto") -> Placement:
    """Resolve the settings `device` and `precision`; ConfigError where this machine lacks them.

    "auto" takes CUDA, else MPS, else the CPU; and half precision where it gains: on CUDA and MPS,
    and on processors with bf16 instructions.
    """
    where = _device(device)
    usable = _precisions(where)
    if precision == "auto":
        return Placement(where, usable[0])
    if precision not in usable:
        raise ConfigError(
            f"setting 'precision' has value {precision!r}, which {where} cannot do here; "
            f"expected auto or one of: {', '.join(usable)}"
        )
    return Placement(where, precision)


def found_devices() -> list[str]:
    """What this machine has, fastest first."""
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def _device(name: str) -> torch.device:
    found = found_devices()
    wanted = {"auto": found[0], "cuda": "cuda:0", "mps:0": "mps"}.get(name, name)
    if wanted not in found:
        raise ConfigError(
            f"setting 'device' has value {name!r}; found here: {', '.join(found)}. "
            "Expected auto or one of these (cuda needs an NVIDIA driver and a CUDA build of torch)"
        )
    return torch.device(wanted)


def _precisions(device: torch.device) -> list[str]:
    """Usable on `device`, the fastest first."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return ["bf16", "fp16", "fp32"] if native else ["fp16", "fp32"]
    if device.type == "mps":
        return ["fp16", "fp32"]
    return ["bf16", "fp32"] if _cpu_has_bf16() else ["fp32", "bf16"]


def _cpu_has_bf16() -> bool:
    """AVX512-BF16 or AMX; elsewhere bf16 is emulated and slower than fp32."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public name
    return any(getattr(torch.cpu, name, bool)() for name in names)
