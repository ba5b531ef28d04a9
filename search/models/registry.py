"""Versions of rerankers in one folder, by name: pinned by hash, switched and taken back.

    state.json     the version in use, those in use before it, and those on trial
    NAME/          a version, as `version` describes it

A version never changes; a name that is free again may be given anew. Everything is written beside
its place and then moved there, so that a kill at any moment leaves what was, or what was to be.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from search.errors import InputError, ModelError
from search.models.files import locked, sync, write_json
from search.models.folder import find_folder
from search.models.version import (
    MANIFEST,
    Check,
    Version,
    as_json,
    check_unchanged,
    drafted,
    read_manifest,
)

MODELS = Path("~/.local/share/two-stage/models")
"""Beside no store: many of them use one model, and a store may be deleted without it."""
SHIPPED = "bundled"
CURRENT = "current"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
STATE, LOCK = "state.json", "lock"
DRAFT, GONE = ".draft-", ".gone-"
WAIT_SECONDS = 10.0
"""For another writer, who needs some milliseconds for what is done under the lock."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Versions that a service tries beside the one in use: `shadow` scores, and answers nothing;
    `canary` answers this share of the queries."""

    shadow: str | None = None
    canary: str | None = None
    canary_share: float = 0.05


class Registry:
    """The versions in `root`. Any number of processes may read while one writes."""

    def __init__(self, root: Path = MODELS) -> None:
        self.root = root.expanduser()

    # --- reading

    def find(self, name: str) -> Version | None:
        """The version of this name, None without one. Raises ModelError where it is broken."""
        if not NAME.fullmatch(name) or not (self.root / name / MANIFEST).is_file():
            return None
        return read_manifest(self.root / name)

    def get(self, name: str) -> Version:
        """The version of this name. Raises InputError, with what there is."""
        if name == SHIPPED:
            raise InputError(
                f"{SHIPPED} is the model that comes with this program, and no version: there is "
                f"nothing to show, check or remove. `two-stage models add NAME {SHIPPED}` makes a "
                "version of it"
            )
        found = self.find(name)
        if found is None:
            names = ", ".join(self.names()) or "none"
            raise InputError(
                f"there is no version {name!r} in {self.root}; found: {names}. "
                "`two-stage models add NAME FOLDER_OR_HUB_NAME` makes one"
            )
        return found

    def names(self) -> list[str]:
        """All versions, in order of their names."""
        return sorted(path.parent.name for path in self.root.glob(f"[!.]*/{MANIFEST}"))

    @property
    def current(self) -> str:
        """The version in use, which `model: current` stands for; "bundled" until one is used."""
        return self.history[-1] if self.history else SHIPPED

    @property
    def history(self) -> list[str]:
        """The versions used, the current one last; `rollback` goes back one. Raises ModelError."""
        return self._state[0]

    @property
    def trial(self) -> Trial:
        """What a service is to try. Raises ModelError."""
        return self._state[1]

    @property
    def _state(self) -> tuple[list[str], Trial]:
        path = self.root / STATE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return [str(name) for name in content["used"]], Trial(**content.get("trial", {}))
        except FileNotFoundError:
            return [], Trial()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{path}: cannot be read ({error!r}): delete it, then choose with "
                "`two-stage models use NAME`"
            ) from None

    # --- writing

    def use(self, name: str) -> None:
        """Make this version the current one. Raises InputError, or ModelError if it changed."""
        if name != SHIPPED:
            check_unchanged(self.get(name))
        with self._locked():
            if name != SHIPPED:
                self.get(name)  # not removed meanwhile
            if name != self.current:
                self._write_state([*self.history, name])

    def rollback(self) -> str:
        """Make the version before the current one current again; its name. Raises InputError."""
        with self._locked():
            used = self.history
            if not used:
                raise InputError(f"{SHIPPED} is in use, and there is none before it to go back to")
            before = used[-2] if len(used) > 1 else SHIPPED
            if before != SHIPPED:
                check_unchanged(self.get(before))
            self._write_state(used[:-1])
            return before

    def set_trial(self, trial: Trial) -> None:
        """What a service is to try from now on. Raises InputError, or ModelError if one changed."""
        for name in (trial.shadow, trial.canary):
            if name not in (None, SHIPPED):
                check_unchanged(self.get(name))
        with self._locked():
            self._write_state(self.history, trial)

    def remove(self, name: str) -> None:
        """Delete a version that is not in use; a folder that it refers to stays. InputError."""
        self.get(name)
        with self._locked():
            if name in (self.current, self.trial.shadow, self.trial.canary):
                raise InputError(
                    f"version {name!r} is in use: `two-stage models use` another one, or "
                    "`rollback`, and end its trial (`shadow --off`, `canary --off`), then remove it"
                )
            left = [used for used in self.history if used != name]
            self._write_state([used for used, _ in groupby(left)])
            gone = self.root / f"{GONE}{name}-{os.getpid()}"
            (self.root / name).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    @contextmanager
    def draft(self, name: str, source: str, copy: bool | None = None) -> Iterator[Draft]:
        """A version in the making, which `Draft.add` adds; without that, nothing stays.

        `source` is a folder, of which a copy is made, or a name on the hub, which is referred to in
        its cache; `copy` says otherwise. Raises InputError for the name, ModelError for the source.
        """
        self._check_free(name)
        found = find_folder(source)
        with ExitStack() as stack:
            with self._locked():
                home = self.root / f"{DRAFT}{name}-{os.getpid()}-{time.monotonic_ns()}"
                home.mkdir()
                stack.callback(shutil.rmtree, home, ignore_errors=True)
                # As long as it is held, nobody takes the draft for a leftover.
                stack.enter_context(locked(home / LOCK, "this draft"))
            yield Draft(self, drafted(name, home, source, found, copy))

    def _add(self, version: Version) -> Version:
        target = self.root / version.name
        with self._locked():
            self._check_free(version.name)
            write_json(version.home / MANIFEST, as_json(version))
            (version.home / LOCK).unlink(missing_ok=True)
            version.home.rename(target)
            sync(self.root)
        return read_manifest(target)

    def _check_free(self, name: str) -> None:
        if not NAME.fullmatch(name) or name in (SHIPPED, CURRENT, STATE, LOCK):
            raise InputError(
                f"{name!r} cannot be a version's name: expected small letters, digits and . _ - "
                f"(64 at most), and none of {SHIPPED}, {CURRENT}, {STATE} and {LOCK}"
            )
        if (self.root / name).exists():
            raise InputError(
                f"there is a version {name!r} already, and a version does not change: choose "
                f"another name, or `two-stage models remove {name}` first"
            )

    def _write_state(self, used: Sequence[str], trial: Trial | None = None) -> None:
        content = {"used": list(used), "trial": asdict(self.trial if trial is None else trial)}
        write_json(self.root / STATE, content)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time; what killed ones have left is removed. Raises ModelError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with locked(self.root / LOCK, f"the models in {self.root}", WAIT_SECONDS):
                for path in self.root.glob(f"{DRAFT}*"):
                    with suppress(ModelError, OSError), locked(path / LOCK, "this draft"):
                        shutil.rmtree(path, ignore_errors=True)
                for path in self.root.glob(f"{GONE}*"):
                    shutil.rmtree(path, ignore_errors=True)
                yield
        except OSError as error:
            raise ModelError(
                f"{self.root} cannot be written: {error.strerror}; set `models` to another folder"
            ) from None


@dataclass(frozen=True, slots=True)
class Draft:
    """A version in the making: its files are there to be checked, and nobody finds it yet."""

    registry: Registry
    version: Version

    def add(self, checks: Sequence[Check], calibration: Mapping[str, Any] | None) -> Version:
        """Add it, as it is now. Raises InputError when the name was taken meanwhile."""
        return self.registry._add(
            replace(self.version, checks=tuple(checks), calibration=calibration)
        )
