"""Where a model runs, with how many bits, and through which engine; found out without torch."""

from __future__ import annotations

import ctypes
import logging
import platform
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from search.errors import ConfigError, MissingExtra

logger = logging.getLogger(__name__)

# What the OpenVINO graph can build: how the encoder's tensors are named, and the activations.
PREFIXES = {
    "bert": "bert.",
    "roberta": "roberta.",
    "xlm-roberta": "roberta.",
    "camembert": "roberta.",
    "modernbert": "model.",
}
ACTIVATIONS = {"gelu": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "relu": "relu"}


@dataclass(frozen=True, slots=True)
class Placement:
    """A device that is there, a precision that it can do, and the engine that runs both."""

    device: str
    precision: str
    engine: str

    @property
    def kind(self) -> str:
        """ "cuda" for "cuda:1"."""
        return self.device.partition(":")[0]


def place(
    device: str = "auto", precision: str = "auto", engine: str = "auto", *, graph: bool = True
) -> Placement:
    """Resolve the three settings; `graph` says whether OpenVINO can run this architecture.

    "auto" takes CUDA, else MPS, else the CPU, and half precision where it gains. OpenVINO runs on
    the CPU what it can, torch everything else. Raises ConfigError where this machine lacks what was
    asked for, MissingExtra where torch would have it.
    """
    where = _device(device, engine)
    chosen = _engine(engine, where, graph)
    usable = _precisions(where)
    if precision == "auto":
        return Placement(where, usable[0], chosen)
    if precision not in usable:
        raise ConfigError(
            f"setting 'precision' has value {precision!r}, which {where} cannot do here; "
            f"expected auto or one of: {', '.join(usable)}"
        )
    return Placement(where, precision, chosen)


def found_devices() -> list[str]:
    """What this machine has, fastest first."""
    mps = ["mps"] if sys.platform == "darwin" and platform.machine() == "arm64" else []
    return [*(f"cuda:{i}" for i in range(_cuda_devices())), *mps, "cpu"]


def has_torch() -> bool:
    """Whether torch and transformers are installed; neither is imported."""
    return find_spec("torch") is not None and find_spec("transformers") is not None


def graph_knows(config: dict[str, Any]) -> bool:
    """Whether OpenVINO can run a model with this config.json."""
    return (
        config.get("model_type") in PREFIXES
        and activation_of(config) in ACTIVATIONS
        and config.get("classifier_activation", "gelu") in ACTIVATIONS
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("rope_scaling")
        and all(
            (rotation or {}).get("rope_type", "default") == "default"
            for rotation in (config.get("rope_parameters") or {}).values()
        )
        and not config.get("is_decoder")
    )


def activation_of(config: dict[str, Any]) -> str:
    """What the layers' inner part is passed through; the key depends on the architecture."""
    return str(config.get("hidden_act") or config.get("hidden_activation") or "gelu")


def _device(name: str, engine: str) -> str:
    found = found_devices()
    if name == "auto":
        return _fastest(found) if engine != "openvino" else "cpu"
    wanted = {"cuda": "cuda:0", "mps:0": "mps"}.get(name, name)
    if wanted not in found:
        raise ConfigError(
            f"setting 'device' has value {name!r}; found here: {', '.join(found)}. "
            "Expected auto or one of these (cuda needs an NVIDIA driver)"
        )
    if wanted != "cpu" and not has_torch():
        raise MissingExtra("torch", "gpu", f"device {name!r}")
    return wanted


def _fastest(found: list[str]) -> str:
    if found[0] == "cpu" or has_torch():
        return found[0]
    _say_that_a_gpu_is_unused(found[0])
    return "cpu"


@cache
def _say_that_a_gpu_is_unused(device: str) -> None:
    logger.warning("%s", MissingExtra("torch", "gpu", f"this machine has {device}, which"))


def _engine(name: str, device: str, graph: bool) -> str:
    if name == "openvino":
        if device != "cpu":
            raise ConfigError(f"engine 'openvino' runs on the cpu, but device is {device!r}")
        if not graph:
            raise ConfigError(
                "engine 'openvino' does not know this model's architecture; expected BERT, "
                "RoBERTa, XLM-R or ModernBERT. Set engine to auto or torch"
            )
        return name
    if name == "auto" and device == "cpu" and graph:
        return "openvino"
    if not has_torch():
        why = "engine 'torch'" if name == "torch" else "a model of this architecture"
        raise MissingExtra("torch", "gpu", why)
    return "torch"


def _precisions(device: str) -> list[str]:
    """Usable on `device`, the fastest first."""
    if device.startswith("cuda"):
        return ["bf16", "fp16", "fp32"] if _cuda_has_bf16(device) else ["fp16", "fp32"]
    if device == "mps":
        return ["fp16", "fp32"]
    return ["bf16", "fp32"] if cpu_has_bf16() else ["fp32", "bf16"]


@cache
def _cuda() -> ctypes.CDLL | None:
    """The driver's own library, set up; None where there is no NVIDIA driver or device."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    return library if library.cuInit(0) == 0 else None


def _cuda_devices() -> int:
    """As many as CUDA_VISIBLE_DEVICES leaves."""
    driver, count = _cuda(), ctypes.c_int()
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _cuda_has_bf16(device: str) -> bool:
    """From compute capability 8 (Ampere) on."""
    driver, handle, major = _cuda(), ctypes.c_int(), ctypes.c_int()
    if driver is None:
        return False
    compute_capability_major = 75
    driver.cuDeviceGet(ctypes.byref(handle), int(device.partition(":")[2] or 0))
    driver.cuDeviceGetAttribute(ctypes.byref(major), compute_capability_major, handle)
    return major.value >= 8


@cache
def cpu_has_bf16() -> bool:
    """AVX512-BF16 or AMX, as Linux lists them; elsewhere bf16 would be slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
