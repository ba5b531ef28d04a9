"""One version of a model, in a folder of its own, and whether it still is what was added.

    manifest.json     where it came from, the hash of every file, what its checks gave
    rerank.json       its calibration and blend, where it has one
    files/            the copy; a version that refers to a folder elsewhere has none

A file that changed since is found by its hash, and the version is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from search.errors import ModelError
from search.models.remembered import remember

MANIFEST, BLEND = "manifest.json", "rerank.json"
COPIED = ("*.json", "*.safetensors", "*.txt", "*.model", "README.md", "LICENSE*")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, with what was found."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Version:
    """A model by name. `folder` has its weights; `home` its manifest and its blend.

    `source` is what it was added from, `revision` the commit where that is the hub's; `files` are
    the SHA-256 of each file. `calibration` says what its probabilities were fitted on, and how far
    each band comes true; None where they are fitted on nothing.
    """

    name: str
    home: Path
    folder: Path
    source: str
    revision: str | None
    added: str
    files: Mapping[str, str]
    checks: tuple[Check, ...] = ()
    calibration: Mapping[str, Any] | None = None

    @property
    def is_copy(self) -> bool:
        return self.folder.parent == self.home

    @property
    def digest(self) -> str:
        """12 hex digits over all files."""
        return _digest(self.files)


def drafted(name: str, home: Path, source: str, found: Path, copy: bool | None) -> Version:
    """A version in `home`, without its manifest; `found` is the folder that `source` names.

    Raises ModelError.
    """
    from_hub = not Path(source).expanduser().is_dir()
    folder = found.resolve()
    try:
        if copy if copy is not None else not from_hub:
            folder = _copied(folder, home / "files")
        if (found / BLEND).is_file():
            shutil.copyfile(found / BLEND, home / BLEND)
        files = {path.name: _hash(path) for path in _files_of(folder)}
    except OSError as error:
        raise ModelError(f"{found}: cannot be read, or copied to {home.parent}: {error}") from None
    now = datetime.now(UTC).isoformat(timespec="seconds")
    snapshot = found.resolve()
    commit = snapshot.name if from_hub and snapshot.parent.name == "snapshots" else None
    origin = source if from_hub else str(snapshot)
    return Version(name, home, folder, origin, commit, now, files)


def check_unchanged(version: Version, trust_stamps: bool = True) -> None:
    """Raise ModelError when a file is not the one that was added.

    `trust_stamps`: a file with the size and times of one that was hashed before is not read again.
    """
    paths = [version.folder / name for name in version.files]

    def found() -> str:
        return _digest({n: _hash(p) for n, p in zip(version.files, paths, strict=True)})

    try:
        digest = remember("files", paths, found) if trust_stamps else found()
    except OSError as error:
        raise ModelError(
            f"version {version.name!r}: {error.filename} cannot be read ({error.strerror}). "
            f"{_fix(version)}"
        ) from None
    if digest != version.digest:
        changed = [n for n, path in zip(version.files, paths, strict=True) if _differs(version, n)]
        raise ModelError(
            f"version {version.name!r}: {', '.join(changed)} in {version.folder} changed since it "
            f"was added on {version.added}. {_fix(version)}"
        )


def _differs(version: Version, name: str) -> bool:
    return _hash(version.folder / name) != version.files[name]


def _fix(version: Version) -> str:
    again = f"`two-stage models add` it under a new name, which checks it, or remove {version.name}"
    return again if version.is_copy else f"Put it back, or {again}"


def _copied(folder: Path, target: Path) -> Path:
    """The files of a model's folder, on disk when this returns."""
    target.mkdir()
    for path in _files_of(folder):
        shutil.copyfile(path, target / path.name)
        with (target / path.name).open("rb+") as file:
            os.fsync(file.fileno())
    return target


def _files_of(folder: Path) -> list[Path]:
    """What belongs to a model, but for its blend, which is the version's own."""
    found = {path for pattern in COPIED for path in folder.glob(pattern) if path.is_file()}
    return sorted(path for path in found if path.name != BLEND)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()[:12]


def as_json(version: Version) -> dict[str, Any]:
    """Its manifest: without the home, and without a folder below it, since both move."""
    content = {name: value for name, value in asdict(version).items() if name != "home"}
    content["folder"] = None if version.is_copy else str(version.folder)
    return {"format": 1, **content}


def read_manifest(home: Path) -> Version:
    """The version in this folder. Raises ModelError."""
    path = home / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Version(
            home.name,
            home,
            home / "files" if content["folder"] is None else Path(content["folder"]),
            content["source"],
            content["revision"],
            content["added"],
            dict(content["files"]),
            tuple(Check(**check) for check in content["checks"]),
            content["calibration"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: cannot be read as a version's manifest ({error!r}): remove the folder "
            f"{home}, then add the model again"
        ) from None
