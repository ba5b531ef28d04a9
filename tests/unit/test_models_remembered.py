from __future__ import annotations

import os
from pathlib import Path

import pytest

from search.models import remembered
from search.models.remembered import remember


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(remembered, "CACHE", tmp_path / "cache" / "models.json")
    (tmp_path / "weights").write_text("abc")
    return tmp_path / "weights"


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        return f"answer {self.calls}"


def test_an_answer_is_kept_until_a_file_changes(path: Path) -> None:
    compute = Counted()
    assert [remember("q", [path], compute) for _ in range(2)] == ["answer 1"] * 2
    assert remember("other", [path], compute) == "answer 2"
    before = path.stat()
    path.write_text("xyz")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a careful copy would
    assert remember("q", [path], compute) == "answer 3"


@pytest.mark.parametrize("content", ["", "[1]", '{"q": 1}', "\x00"])
def test_a_damaged_cache_costs_only_time(path: Path, content: str) -> None:
    compute = Counted()
    remember("q", [path], compute)
    remembered.CACHE.write_text(content)
    assert remember("q", [path], compute) == "answer 2"
    assert remember("q", [path], compute) == "answer 2"


def test_a_cache_that_cannot_be_written_costs_only_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "CACHE", path / "below-a-file" / "models.json")
    compute = Counted()
    assert [remember("q", [path], compute) for _ in range(2)] == ["answer 1", "answer 2"]


def test_it_does_not_grow_without_end(path: Path) -> None:
    for i in range(remembered.MAX_ENTRIES + 5):
        remember(f"question {i}", [path], lambda: "a")
    compute = Counted()
    assert remember(f"question {i}", [path], compute) == "a"
    assert remember("question 0", [path], compute) == "answer 1"
