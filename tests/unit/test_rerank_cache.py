"""Scores that are kept: exact, bounded, never in the way; a failing backend costs only itself."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

import config
from search.rerank import Blend, Scored
from search.rerank import cache as cache_module
from search.rerank.cache import (
    CachedReranker,
    CacheError,
    ScoreCache,
    keys_of,
    open_cache,
)
from search.rerank.cache.sqlite import BYTES_PER_SCORE, SqliteScores


class Shelf:
    """A backend in memory that can fail."""

    def __init__(self) -> None:
        self.scores: dict[bytes, Scored] = {}
        self.fails = False
        self.closed = 0

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Scored]:
        self.check()
        return {key: self.scores[key] for key in keys if key in self.scores}

    def put(self, scores: Mapping[bytes, Scored]) -> None:
        self.check()
        self.scores |= scores

    def close(self) -> None:
        self.closed += 1

    def check(self) -> None:
        if self.fails:
            raise CacheError("nobody is there")

    def opened(self) -> Shelf:
        self.check()
        return self


class Halves:
    """Logits that are no short decimals; counts the pairs that it reads, at most `stamina`."""

    info: Mapping[str, str | int] = {"name": "halves"}
    blend = Blend()

    def __init__(self) -> None:
        self.read: list[tuple[str, str]] = []
        self.stamina = 1000

    def readable(self, query: str) -> str:
        return query

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        pairs = pairs[: self.stamina]
        self.read += pairs
        return [Scored(math.sqrt(len(q) + 2 * len(t)), (1, len(t)), tokens=9) for q, t in pairs]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "WRITE_SECONDS", 0.01)
    monkeypatch.setattr(cache_module, "RETRY_SECONDS", 0.05)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def cache(shelf: Shelf) -> Iterator[ScoreCache]:
    cache = ScoreCache("shelf", shelf.opened)
    yield cache
    cache.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


PAIRS = [("query", "a"), ("query", "bb"), ("other", "a"), ("query", "a")]


def test_a_pair_is_scored_once_and_its_score_is_the_same_to_the_last_bit(
    cache: ScoreCache, shelf: Shelf
) -> None:
    model = Halves()
    cached = CachedReranker(model, cache, lambda: "revision fp32")
    first = cached.score_pairs(PAIRS)
    assert model.read == PAIRS[:3]  # the same pair twice is scored once
    assert cached.score_pairs(PAIRS) == first
    until(lambda: len(shelf.scores) == 3)
    again = cached.score_pairs([*PAIRS[:2], ("query", "new")])
    assert again[:2] == first[:2]
    assert model.read == [*PAIRS[:3], ("query", "new")]
    assert [one.tokens for one in again] == [0, 0, 9]  # what the model read for this answer
    assert (cached.info, cached.blend) == (model.info, model.blend)


def test_another_model_or_precision_has_scores_of_its_own(cache: ScoreCache) -> None:
    model = Halves()
    for identity in ("a fp32", "b fp32", "a bf16", "a fp32"):
        CachedReranker(model, cache, lambda name=identity: name).score_pairs(PAIRS)  # type: ignore[misc]
    assert len(model.read) == 9


def test_scores_of_a_model_that_moved_meanwhile_are_not_kept(
    cache: ScoreCache, shelf: Shelf
) -> None:
    names = iter(["on gpu", "on cpu", "on cpu", "on cpu"])
    model = Halves()
    cached = CachedReranker(model, cache, lambda: next(names))
    cached.score_pairs(PAIRS)
    cached.score_pairs(PAIRS)
    assert len(model.read) == 6


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=20, unique=True))
def test_a_key_belongs_to_one_pair(pairs: list[tuple[str, str]]) -> None:
    keys = [*keys_of(pairs, "m"), *keys_of(pairs, "n")]
    assert len(set(keys)) == 2 * len(pairs)
    assert keys_of(pairs, "m") == keys[: len(pairs)]


def test_queries_and_texts_do_not_run_into_each_other() -> None:
    a, b = keys_of([("ab", "c"), ("a", "bc")], "m")
    assert a != b
    assert keys_of([("q", "\ud800")], "m")


def test_at_a_deadline_the_first_pairs_that_are_known_or_scored_are_given(
    cache: ScoreCache,
) -> None:
    model = Halves()
    cached = CachedReranker(model, cache, lambda: "m")
    pairs = [("q", "x" * n) for n in range(10)]
    cached.score_pairs([pairs[0], pairs[2], pairs[3], pairs[9]])
    model.stamina = 2
    assert len(cached.score_pairs(pairs, seconds=1.0)) == 5  # 1 and 4 are read, 5 is not
    model.stamina = 0
    assert len(cached.score_pairs(pairs, seconds=0.0)) == 5


def test_a_backend_that_fails_costs_only_its_scores_and_is_found_again(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[int] = []
    cache = ScoreCache("shelf", shelf.opened, failed=lambda: failures.append(1))
    model = Halves()
    cached = CachedReranker(model, cache, lambda: "m")
    first = cached.score_pairs(PAIRS)
    until(lambda: len(shelf.scores) == 3)
    shelf.fails = True
    for _ in range(5):
        assert cached.score_pairs(PAIRS) == first
        time.sleep(0.03)
    assert len(model.read) == 3 + 5 * 3
    assert shelf.closed >= 1
    shelf.fails = False
    until(lambda: "answers again" in caplog.text)
    assert cached.score_pairs(PAIRS) == first
    assert len(model.read) == 3 + 5 * 3
    cache.close()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "(shelf) cannot be used: CacheError: nobody is there" in said[0]
    assert failures == [1]


def test_a_backend_that_is_not_there_at_first_is_found_later(shelf: Shelf) -> None:
    shelf.fails = True
    cache = ScoreCache("shelf", shelf.opened)
    cached = CachedReranker(Halves(), cache, lambda: "m")
    cached.score_pairs(PAIRS)
    shelf.fails = False
    until(lambda: cached.score_pairs(PAIRS) and shelf.scores)
    cache.close()


def test_hits_and_misses_are_counted(shelf: Shelf) -> None:
    counted: list[tuple[int, int]] = []
    cache = ScoreCache("shelf", shelf.opened, counted=lambda *both: counted.append(both))
    cached = CachedReranker(Halves(), cache, lambda: "m")
    cached.score_pairs(PAIRS[:2])
    cached.score_pairs(PAIRS[:3])
    assert counted == [(0, 2), (2, 1)]
    cache.close()


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    path = tmp_path / "scores"
    threads = threading.active_count()
    cache = ScoreCache("file", lambda: SqliteScores(path, 10_000))
    scored = CachedReranker(Halves(), cache, lambda: "m").score_pairs(PAIRS)
    cache.close()
    assert threading.active_count() == threads
    model = Halves()
    cache = ScoreCache("file", lambda: SqliteScores(path, 10_000))
    assert CachedReranker(model, cache, lambda: "m").score_pairs(PAIRS) == scored
    assert model.read == []
    cache.close()


def scores(count: int, start: int = 0) -> dict[bytes, Scored]:
    return {
        n.to_bytes(16, "big"): Scored(math.sin(n), (n, n + 1)) for n in range(start, start + count)
    }


def test_a_file_gives_back_what_it_was_given(tmp_path: Path) -> None:
    file = SqliteScores(tmp_path / "new" / "scores", 10**6)
    kept = scores(1200)
    file.put(kept)
    assert file.get(list(kept)) == kept
    assert file.get([b"nobody"]) == {}
    other = SqliteScores(tmp_path / "new" / "scores", 10**6)  # as a second process would
    other.put(scores(10, 5000))
    assert file.get(list(scores(10, 5000))) == scores(10, 5000)
    other.close()
    file.close()


def test_a_file_is_bounded_and_what_is_in_use_stays(tmp_path: Path) -> None:
    path, bound = tmp_path / "scores", 500_000
    file = SqliteScores(path, bound)
    used = scores(5)
    file.put(used)
    for start in range(100, 20_100, 1000):
        file.put(scores(1000, start))
        assert file.get(list(used)) == used
    assert file.get(list(scores(5, 100))) == {}  # as old, and not asked for
    assert file.get(list(scores(5, 20_000))) == scores(5, 20_000)
    file.close()
    assert path.stat().st_size < bound
    assert apsw.Connection(str(path)).execute("SELECT count(*) FROM scores").get <= (
        bound // BYTES_PER_SCORE
    )
    SqliteScores(path, 1000).close()  # a bound that was lowered
    assert path.stat().st_size < 70_000


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\x00" + b"\x07" * 9000])
def test_a_file_that_is_no_cache_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores"
    path.write_bytes(content)
    file = SqliteScores(path, 10**6)
    file.put(scores(3))
    assert file.get(list(scores(3))) == scores(3)
    file.close()


def test_a_file_that_is_damaged_while_in_use_is_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "scores"
    file = SqliteScores(path, 10**7)
    file.put(scores(20_000))
    file.close()
    cache = ScoreCache("file", lambda: SqliteScores(path, 10**7))
    with path.open("r+b") as damaged:
        damaged.seek(8192)
        damaged.write(os.urandom(path.stat().st_size - 8192))
    assert cache.get(list(scores(500))) == {}
    until(lambda: "answers again" in caplog.text)
    cache.put(scores(500))
    assert cache.get(list(scores(500))) == scores(500)
    cache.close()
    assert "malformed" in caplog.text


def test_a_file_that_another_process_locks_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "scores"
    SqliteScores(path, 10**6).close()
    other = apsw.Connection(str(path))
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    cache = ScoreCache("file", lambda: SqliteScores(path, 10**6))
    started = time.monotonic()
    assert cache.get(list(scores(5))) == {}
    assert time.monotonic() - started < 1
    assert "cannot be used: BusyError" in caplog.text
    other.execute("COMMIT")
    other.close()
    until(lambda: "answers again" in caplog.text)
    cache.close()


def test_a_file_that_cannot_be_made_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ScoreCache("file", lambda: SqliteScores(tmp_path / "file" / "scores", 10**6))
    assert cache.get(list(scores(5))) == {}
    cache.put(scores(5))
    cache.close()
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING


def test_no_text_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "scores"
    cache = ScoreCache("file", lambda: SqliteScores(path, 10**6))
    pair = ("a secret question", "and its private answer")
    CachedReranker(Halves(), cache, lambda: "m").score_pairs([pair])
    cache.close()
    content = path.read_bytes()
    assert b"secret" not in content
    assert b"private" not in content


def test_the_settings_choose_the_cache(tmp_path: Path) -> None:
    def opened(**settings: object) -> ScoreCache | None:
        flags = {"store": tmp_path / "my.db", **settings}
        return open_cache(config.load(flags, {}, []), lambda hits, misses: None, lambda: None)

    assert opened(**{"serve.cache_bytes": 0}) is None
    cache = opened()
    assert cache is not None
    cache.close()
    assert (tmp_path / "my.db.scores").is_file()
