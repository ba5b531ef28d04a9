"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """The processor's name, its cores, and the instructions that decide a model's speed."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    fields = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    found = {name.strip(): value.split() for name, value in fields.items()}
    name = " ".join(found.get("model name", [platform.processor()]))
    known = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")
    best = next((flag for flag in known if flag in found.get("flags", [])), "no AVX2")
    return f"{name} ({best}), {os.cpu_count()} cores"
