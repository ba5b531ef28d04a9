"""Two ingests into one store at once are kept apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest.lock import only_ingest
from search.errors import StoreUnavailable


def test_a_second_ingest_is_told_who_is_at_work(tmp_path: Path) -> None:
    ledger = tmp_path / "new" / "store.db"
    holder = rf"another ingest into {ledger} .*process {os.getpid()} on .*wait"
    for _ in range(2):
        with (
            only_ingest(ledger),
            pytest.raises(StoreUnavailable, match=holder),
            only_ingest(ledger),
        ):
            pass


def test_other_stores_are_free_and_an_error_lets_go(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), only_ingest(tmp_path / "a.db"):
        raise KeyboardInterrupt
    with only_ingest(tmp_path / "a.db"), only_ingest(tmp_path / "b.db"):
        pass
