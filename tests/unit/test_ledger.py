"""The ledger follows the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from ingest_fakes import MemoryStore

from ingest.ledger import PAGE, Ledger, Row
from search.types import Document, Entry, Passage


def store_of(**hashes: str) -> MemoryStore:
    store = MemoryStore()
    store.put([Entry(Document(i, "", "x"), (Passage("x"),), h) for i, h in hashes.items()])
    return store


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "store.db")


def test_rows_are_replaced_and_forgotten(ledger: Ledger) -> None:
    ledger.write([Row("a", "1", 2, "f", 3), Row("b", "1")])
    ledger.write([Row("a", "2")])
    assert ledger.hashes(["a", "b", "c"]) == {"a": "2", "b": "1"}
    ledger.forget(["a", "none"])
    assert len(ledger) == 1


def test_pages_hold_every_row_once(ledger: Ledger) -> None:
    ids = {f"{i:x}é" for i in range(2 * PAGE + 1)}
    ledger.write(Row(i, "h") for i in ids)
    pages = list(ledger.pages())
    assert len(pages) == 3
    assert sorted(i for page in pages for i in page) == sorted(ids)


def test_pages_may_be_emptied_meanwhile(ledger: Ledger) -> None:
    ledger.write(Row(str(i), "h") for i in range(PAGE + 5))
    for page in ledger.pages():
        ledger.forget(page)
    assert len(ledger) == 0


def test_differences_and_mending(ledger: Ledger) -> None:
    store = store_of(same="1", changed="new", extra="1")
    ledger.write([Row("same", "1"), Row("changed", "old"), Row("missing", "1")])
    found = ledger.differences(store)
    assert (found.missing, found.extra, found.changed) == (["missing"], ["extra"], ["changed"])
    ledger.mend(store)
    assert not ledger.differences(store)
    assert ledger.hashes(["changed"]) == {"changed": "new"}


def test_many_extra_documents_are_all_found(ledger: Ledger) -> None:
    store = store_of(**{f"d{i}": "1" for i in range(2 * PAGE + 1)})
    assert len(ledger.differences(store).extra) == 2 * PAGE + 1
    ledger.mend(store)
    assert len(ledger) == 2 * PAGE + 1


def test_adopting_keeps_what_is_known(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write([Row("a", "1", 4, "f", 9)])
    ledger.adopt({"a": "1", "b": "2"})
    kept = ledger._connection.execute("SELECT passages, file, line FROM ingested WHERE id = 'a'")
    assert kept.fetchone() == (4, "f", 9)
    assert ledger.hashes(["b"]) == {"b": "2"}


def test_reading_makes_no_file(tmp_path: Path) -> None:
    absent = Ledger(tmp_path / "none.db", read_only=True)
    assert len(absent) == 0
    assert not (tmp_path / "none.db").exists()
