"""Scores in a real Redis, which is killed under load and comes back."""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_support import HashedWords

from search.errors import ConfigError
from search.rerank import CrossEncoder, Scored
from search.rerank import cache as cache_module
from search.rerank.cache import CacheError, ScoreCache
from search.rerank.cache.redis import PREFIX, RedisScores
from search.serve.models import Models

QUERY = "how to prevent heart disease"
TEXTS = [f"Walk {n} minutes each day, eat little salt and do not smoke." for n in range(24)]


class RedisServer:
    """`redis-server` on a port of its own, without a file behind it."""

    def __init__(self, binary: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._folder = folder
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=subprocess.DEVNULL)
        until(lambda: _listens(self.port))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def pause(self, stop: bool) -> None:
        self._process.send_signal(19 if stop else 18)  # SIGSTOP, SIGCONT


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("found no redis-server: apt-get install redis-server, or brew install redis")
    server = RedisServer(binary, tmp_path)
    yield server
    server.kill()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "WRITE_SECONDS", 0.02)
    monkeypatch.setattr(cache_module, "RETRY_SECONDS", 0.3)


def scores(count: int) -> dict[bytes, Scored]:
    return {n.to_bytes(16, "big"): Scored(math.sin(n) * 7, (n, n + 900)) for n in range(count)}


def test_two_services_share_what_one_has_scored(server: RedisServer) -> None:
    ours, theirs = RedisScores(server.url), RedisScores(server.url)
    kept = scores(2500)
    ours.put(kept)
    assert theirs.get(list(kept)) == kept  # to the last bit
    assert theirs.get([b"nobody"]) == {}
    assert 0 < theirs._client.ttl(PREFIX + next(iter(kept))) <= 30 * 24 * 3600  # type: ignore[operator]
    theirs._client.set(PREFIX + b"other", b"written by somebody else")
    assert theirs.get([b"other"]) == {}
    ours.close()
    theirs.close()


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="redis_url is no address of a Redis"):
        RedisScores("localhost:6379")


def test_nobody_there_is_a_cache_error_at_once(server: RedisServer) -> None:
    server.kill()
    started = time.monotonic()
    with pytest.raises(CacheError):
        RedisScores(server.url)
    assert time.monotonic() - started < 2


@pytest.mark.usefixtures("quick")
def test_a_redis_that_hangs_costs_one_short_wait(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ScoreCache("Redis", lambda: RedisScores(server.url))
    cache.put(scores(3))
    until(lambda: not cache._pending)
    server.pause(True)
    try:
        started = time.monotonic()
        assert cache.get(list(scores(3))) == {}
        assert time.monotonic() - started < 1
        started = time.monotonic()
        for _ in range(20):
            cache.get(list(scores(3)))
        assert time.monotonic() - started < 0.2
    finally:
        server.pause(False)
    until(lambda: cache.get(list(scores(3))) == scores(3))
    cache.close()
    assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING"]


@pytest.mark.usefixtures("quick")
def test_a_redis_that_is_killed_under_load_costs_nothing_but_its_scores(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Eight callers all the while, through the service's queue, with the bundled model."""
    model = CrossEncoder()
    expected = [scored.logit for scored in model.score_pairs([(QUERY, text) for text in TEXTS])]
    hits = misses = 0

    def counted(found: int, not_found: int) -> None:
        nonlocal hits, misses
        hits, misses = hits + found, misses + not_found

    cache = ScoreCache("Redis", lambda: RedisScores(server.url), counted=counted)
    models = Models(HashedWords(), model, cache=cache, identity=lambda: model.identity)
    stop = threading.Event()
    answered, faults = [0] * 8, []

    def call(number: int) -> None:
        reranker = models.provider.get()
        while not stop.is_set():
            part = slice(number, number + 16)
            try:
                found = reranker.score_pairs([(QUERY, text) for text in TEXTS[part]])
                assert [s.logit for s in found] == pytest.approx(expected[part], abs=0.05)
            except Exception as error:  # noqa: BLE001  # reported below
                faults.append(error)
            answered[number] += 1
            time.sleep(0.01)

    def goes_on() -> None:
        before = list(answered)
        until(lambda: all(now >= then + 3 for now, then in zip(answered, before, strict=True)))

    callers = [threading.Thread(target=call, args=(n,)) for n in range(8)]
    for caller in callers:
        caller.start()
    try:
        until(lambda: hits > 100)
        server.kill()
        goes_on()
        assert "the score cache (Redis) cannot be used" in caplog.text
        without = hits
        goes_on()
        assert hits == without
        server.start()
        until(lambda: "answers again" in caplog.text)
        until(lambda: hits > without + 100)
    finally:
        stop.set()
        for caller in callers:
            caller.join(20)
        models.close()
    assert faults == []
    messages = [record.getMessage() for record in caplog.records]
    assert len([m for m in messages if "cannot be used" in m]) == 1
