"""Fixtures of several test files."""

from __future__ import annotations

from pathlib import Path

import pytest
from ingest_bench import Bench
from ingest_fakes import FakeEmbedder

from ingest import run


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(tmp_path)
    monkeypatch.setattr(
        run, "open_store", lambda settings, create=False, on_embedded=None: bench.store
    )
    monkeypatch.setattr(run, "load_embedder", lambda settings: FakeEmbedder())
    return bench
