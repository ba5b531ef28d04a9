"""`python -m ingest` into servers that are killed under it: kill -9, restart, one node of three."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

import pytest
from store_support import HashedWords, random_entries
from weaviate_nodes import Killable, Server
from weaviate_server import Maker, Missing, cluster
from weaviate_stores import Lookups, lookups

import config
from search.errors import StoreUnavailable
from search.store.weaviate.objects import Objects
from search.store.weaviate.schema import object_id
from search.store.weaviate.store import WeaviateStore

CHILD = Path(__file__).with_name("ingest_child.py")
DOCUMENTS = 400
# With and without the queue on the server's disk from which vectors are indexed.
INDEXING = pytest.mark.parametrize("indexing", ["true", "false"], ids=["async", "sync"])
TOPICS = ["heart", "asthma", "stroke", "diet", "sleep", "pain", "skin", "eye"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Short documents, so that the model takes little of the time."""
    path = tmp_path / "corpus.jsonl"
    records = (
        {"id": f"d{i}", "text": f"About {TOPICS[i % 8]}, case {i}.", "case": i}
        for i in range(DOCUMENTS)
    )
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Sequence[Killable]]:
    with ExitStack() as stack:
        try:
            nodes = stack.enter_context(cluster(tmp_path, 3))
        except Missing as reason:
            pytest.skip(f"this test kills servers: {reason}")
        yield nodes


def settings(server: Server, **more: Any) -> config.Settings:
    flags = server.flags | {"weaviate.vectorizer": "none"}
    return config.load(flags | {f"weaviate.{name}": value for name, value in more.items()})


class Ingest(Protocol):
    """Starts an ingest of the corpus, with flags, and settings of `weaviate:`."""

    def __call__(self, server: Server, *words: str, **settings: Any) -> subprocess.Popen[str]: ...


@pytest.fixture
def ingest(corpus: Path) -> Iterator[Ingest]:
    """No process that it started outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(server: Server, *words: str, **more: Any) -> subprocess.Popen[str]:
        flags = {"weaviate.vectorizer": "none"} | {f"weaviate.{k}": v for k, v in more.items()}
        sets = [word for name, value in flags.items() for word in ("--set", f"{name}={value}")]
        rejects = ["--rejects", str(corpus.with_name("rejects.jsonl"))]
        environment = os.environ | {
            "WEAVIATE_URL": server.url,
            "SEARCH_WEAVIATE__GRPC_PORT": str(server.grpc_port),
            "SEARCH_STORE": str(corpus.with_name("store.db")),
            "DOCUMENTS_A_BATCH": "64",
            "SECONDS_A_BATCH": "0.3",
        }
        process = subprocess.Popen(
            [sys.executable, str(CHILD), str(corpus), *rejects, *sets, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def wait_for_objects(server: Server, least: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        if objects_at(server) >= least:
            return
        time.sleep(0.02)
    raise AssertionError(f"ingest ended before {least} objects were there: {finished(process)}")


def objects_at(server: Server) -> int:
    """How many passages the server counts; 0 as long as the class is not there."""
    query = json.dumps({"query": "{ Aggregate { Document { meta { count } } } }"}).encode()
    request = urllib.request.Request(
        f"{server.url}/v1/graphql", query, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return int(json.load(answer)["data"]["Aggregate"]["Document"][0]["meta"]["count"])
    except (urllib.error.HTTPError, TypeError):
        return 0


def started(make_weaviate: Maker, indexing: str) -> Killable:
    server = make_weaviate({"ASYNC_INDEXING": indexing})
    server.start()
    server.wait()
    return server


def expect_all(server: Server, **more: Any) -> None:
    """Every document once, whole, and found: by its own vector, by its own words, by filters."""
    with closing(WeaviateStore(settings(server, **more), HashedWords)) as store:
        assert sorted(store.ids()) == sorted(f"d{i}" for i in range(DOCUMENTS))
        assert len(store.stored([f"d{i}" for i in range(DOCUMENTS)])) == DOCUMENTS
        info = store.describe()
        assert (info.documents, info.passages) == (DOCUMENTS, DOCUMENTS)
        assert store.check(None) == []
        assert len(store.retrieve("asthma", 100, mode="bm25")) == DOCUMENTS // 8
    assert lookups(server) == Lookups(DOCUMENTS, DOCUMENTS, DOCUMENTS)


def killed_under_import(
    make_weaviate: Maker, ingest: Ingest, indexing: str
) -> tuple[Killable, subprocess.Popen[str]]:
    """A server that is dead by now, and the ingest that was writing to it."""
    server = started(make_weaviate, indexing)
    process = ingest(server.server)
    wait_for_objects(server.server, 200, process)
    server.kill()
    return server, process


@INDEXING
def test_a_server_killed_and_started_again_under_an_import(
    make_weaviate: Maker, ingest: Ingest, indexing: str
) -> None:
    server, process = killed_under_import(make_weaviate, ingest, indexing)
    time.sleep(1)
    server.start()
    status, out, err = finished(process)
    assert (status, f"stored {DOCUMENTS} " in out) == (0, True), (out, err)
    expect_all(server.server)


@INDEXING
def test_a_server_that_stays_dead_ends_the_import_and_a_rerun_finishes_it(
    make_weaviate: Maker, ingest: Ingest, indexing: str
) -> None:
    server, process = killed_under_import(make_weaviate, ingest, indexing)
    status, out, err = finished(process)
    assert status == 1, (out, err)
    assert "stopped answering" in err
    assert "run the same command" in err
    assert "Traceback" not in err
    server.start()
    server.wait()
    status, out, err = finished(ingest(server.server))
    assert status == 0, (out, err)
    stored, unchanged = (int(out.split(word)[1].split()[0]) for word in ("stored", "unchanged"))
    assert stored + unchanged == DOCUMENTS
    assert unchanged >= 128  # what the first run had confirmed was not sent again
    expect_all(server.server)


@INDEXING
def test_a_server_killed_after_an_import_has_all_of_it(
    make_weaviate: Maker, ingest: Ingest, indexing: str
) -> None:
    server = started(make_weaviate, indexing)
    assert finished(ingest(server.server))[0] == 0
    server.kill()
    server.start()
    server.wait()
    expect_all(server.server)


@pytest.mark.parametrize("way", ["repair", "put"])
def test_what_a_kill_took_out_of_the_vector_index_is_found_and_put_back(
    make_weaviate: Maker, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """As ingests before this one left it: nothing was written to disk after the last batch."""
    server = started(make_weaviate, "false")
    entries = list(random_entries(200))
    names = [entry.document.id for entry in entries]
    with closing(WeaviateStore(settings(server.server), HashedWords, create=True)) as store:
        monkeypatch.setattr(Objects, "flush", lambda *_: None)
        assert store.put(entries) == []
        monkeypatch.undo()
        server.kill()
    server.start()
    server.wait()
    assert lookups(server.server).passages == 400
    assert lookups(server.server).by_vector < 400
    with closing(WeaviateStore(settings(server.server), HashedWords, create=True)) as store:
        assert store.check()
        left = [entry for entry in entries if entry.document.id not in store.stored(names)]
        assert left
        assert (store.repair() if way == "repair" else store.put(left)) == []
        assert store.check(None) == []
        assert len(store.stored(names)) == 200
    assert lookups(server.server) == Lookups(400, 400, 400)


def test_a_search_at_a_dead_server_ends_within_the_time_for_queries(own_weaviate: Killable) -> None:
    flags = settings(own_weaviate.server, timeout_query=3)
    with closing(WeaviateStore(flags, HashedWords, create=True)) as store:
        assert store.put(random_entries(5)) == []
    with closing(WeaviateStore(flags, HashedWords)) as store:
        assert len(store.retrieve("heart", 3)) == 3
        own_weaviate.kill()
        for _ in range(2):  # the first finds a broken connection, the second none
            started = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"did not answer in time.*whether it runs"):
                store.retrieve("heart", 3)
            assert time.monotonic() - started < 12  # by itself, the client tries for 63 s


def test_prune_removes_a_document_that_a_kill_left_half(
    own_weaviate: Killable, ingest: Ingest, corpus: Path
) -> None:
    texts = {name: f"{name} " + "and heart disease " * 200 for name in ("kept", "half", "rest")}
    records = [json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()]
    corpus.write_text("".join(records), encoding="utf-8")
    assert finished(ingest(own_weaviate.server))[0] == 0
    # As if killed between two requests, one of them before the first passage was sent.
    for name, index in (("half", 1), ("rest", 0)):
        place = f"{own_weaviate.server.url}/v1/objects/Document/{object_id(name, index)}"
        urllib.request.urlopen(urllib.request.Request(place, method="DELETE")).close()
    corpus.write_text(records[0], encoding="utf-8")
    status, out, err = finished(ingest(own_weaviate.server, "--prune", "--force"))
    assert (status, "removed 2 " in out) == (0, True), (out, err)
    with closing(WeaviateStore(settings(own_weaviate.server), HashedWords)) as store:
        assert list(store.ids()) == ["kept"]
        assert store.check() == []


def test_one_of_three_nodes_killed_under_searches_and_an_import(
    three: Sequence[Killable], ingest: Ingest
) -> None:
    more: dict[str, Any] = {"replication_factor": 3, "consistency_level": "QUORUM"}
    first, _, last = three
    process = ingest(first.server, **more)
    wait_for_objects(first.server, 200, process)
    last.kill()
    status, out, err = finished(process)
    assert (status, f"stored {DOCUMENTS} " in out) == (0, True), (out, err)
    expect_all(first.server, **more)
    last.start()
    last.wait()
    with closing(WeaviateStore(settings(first.server, **more), HashedWords)) as store:
        before = store.retrieve("trouble with breathing", 20)
        last.kill()
        for _ in range(10):
            found = store.retrieve("trouble with breathing", 20)
            assert [c.score for c in found] == pytest.approx([c.score for c in before], abs=1e-5)
    last.start()
    last.wait()
    # The node that was away catches up by itself.
    deadline = time.monotonic() + 90
    with closing(WeaviateStore(settings(last.server, **more), HashedWords)) as store:
        while (there := store.describe().documents) < DOCUMENTS and time.monotonic() < deadline:
            time.sleep(1)
        assert there == DOCUMENTS
    expect_all(last.server, **more)
