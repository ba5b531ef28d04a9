"""A Weaviate broken on purpose: nothing lost, nothing doubled, and the error says what to do."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from store_support import HashedWords, entry, random_entries
from tcp_proxy import Proxy
from weaviate_nodes import Server
from weaviate_stores import Open, opening, sound

from search.errors import StoreUnavailable
from search.store.weaviate.objects import Objects
from search.store.weaviate.schema import object_id
from search.types import Condition, Entry, Stored


@pytest.fixture
def opened() -> Iterator[Open]:
    with opening() as open_store:
        yield open_store


@pytest.fixture
def proxy(weaviate_server: Server) -> Iterator[Proxy]:
    """Between the client and the server's gRPC."""
    proxy = Proxy((weaviate_server.rest[0], weaviate_server.grpc_port))
    yield proxy
    proxy.close()


def at(port: int) -> dict[str, Any]:
    """Settings that send gRPC to this port of this machine."""
    return {"grpc_host": "127.0.0.1", "grpc_port": port}


def test_no_server_there(opened: Open, weaviate_server: Server) -> None:
    nowhere = Server("http://127.0.0.1:9", 10, "none")
    with pytest.raises(StoreUnavailable, match=r"no usable Weaviate at http://127.0.0.1:9 .*WEAV"):
        opened(nowhere, "Any")
    # Something answers, but not Weaviate's REST.
    grpc = Server(f"http://{weaviate_server.rest[0]}:{weaviate_server.grpc_port}", 9, "none")
    with pytest.raises(StoreUnavailable, match="no usable Weaviate"):
        opened(grpc, "Any")


def test_a_server_that_takes_the_call_and_never_answers(opened: Open) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        mute = Server(f"http://127.0.0.1:{silent.getsockname()[1]}", 9, "none")
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"no answer in 1 s, as weaviate.timeout_conn"):
            opened(mute, "Any", timeout_connect=1)
        assert time.monotonic() - started < 5


def test_grpc_is_probed_apart_from_rest(opened: Open, weaviate_server: Server) -> None:
    rest = Proxy(weaviate_server.rest)
    for wrong in (9, rest.port):  # closed, and open but no gRPC
        with pytest.raises(StoreUnavailable, match=rf"REST answers .* gRPC does not .*:{wrong} "):
            opened(weaviate_server, "Any", **at(wrong), timeout_connect=2)
    rest.close()


def test_cut_connections_are_made_again(
    opened: Open, weaviate_server: Server, collection: str, proxy: Proxy
) -> None:
    store = opened(weaviate_server, collection, **at(proxy.port))
    for start in range(0, 200, 50):
        assert store.put(random_entries(200)[start : start + 50]) == []
        proxy.cut()
    assert len(store.retrieve("heart", 5)) == 5
    sound(opened, weaviate_server, collection, 200)


def test_grpc_lost_for_good_stops_the_import(
    opened: Open, weaviate_server: Server, collection: str, proxy: Proxy
) -> None:
    store = opened(weaviate_server, collection, **at(proxy.port))
    assert store.put(random_entries(10)) == []
    proxy.refuse = True
    proxy.cut()
    with pytest.raises(StoreUnavailable, match=r"stopped answering .* run the same command"):
        store.put(random_entries(20))
    sound(opened, weaviate_server, collection, 10)


def test_a_thin_wire_gets_smaller_requests(
    opened: Open, weaviate_server: Server, collection: str, proxy: Proxy
) -> None:
    store = opened(weaviate_server, collection, **at(proxy.port), timeout_insert=1)
    proxy.bytes_per_second = 150_000
    assert store.put(random_entries(300)) == []  # about 380 kB: too much for one second
    sound(opened, weaviate_server, collection, 300)


def test_a_server_too_slow_for_anything_stops_the_import(
    opened: Open, weaviate_server: Server, collection: str, proxy: Proxy
) -> None:
    store = opened(weaviate_server, collection, **at(proxy.port), timeout_insert=1)
    proxy.delay = 3
    with pytest.raises(StoreUnavailable, match=r"did not answer in time .*timeout_insert"):
        store.put(random_entries(4))
    proxy.delay = 0
    assert store.put(random_entries(4)) == []
    sound(opened, weaviate_server, collection, 4)


def test_a_refused_object_is_named_and_the_rest_is_stored(
    opened: Open, weaviate_server: Server, collection: str
) -> None:
    class Odd(HashedWords):
        """Gives the text that says "odd" a vector that Weaviate refuses."""

        def encode_passages(self, texts: list[str]) -> Any:
            vectors = [self.encode_query(text) for text in texts]
            return [v[:7] if "odd" in t else v for v, t in zip(vectors, texts, strict=True)]

    store = opened(weaviate_server, collection, Odd())
    assert store.put([entry("old", "first", "second", version="1")]) == []
    failures = store.put(
        [
            *random_entries(20),
            entry("new", "fine", "odd"),
            entry("old", "changed", "odd", version="2"),
        ]
    )
    assert [failure.document_id for failure in failures] == ["new", "old"]
    assert all("vector" in failure.reason for failure in failures)
    assert len(store.stored([f"d{i}" for i in range(20)])) == 20
    # A vector that the class cannot take is seen before anything of its document is sent.
    assert {name: one.content_hash for name, one in store.stored(["new", "old"]).items()} == {
        "old": "1"
    }
    assert "new" not in set(store.ids())
    assert store.put([entry("old", "changed", "mended", version="3")]) == []
    sound(opened, weaviate_server, collection, 21)


def test_metadata_without_a_utf8_form_is_named(
    opened: Open, weaviate_server: Server, collection: str
) -> None:
    store = opened(weaviate_server, collection)
    half = entry("half", "text", **{"field \ud83d": 1})
    value = entry("value", "text", field=("a", "\ud83d"))
    failures = store.put([half, value, *random_entries(3)])
    assert [failure.document_id for failure in failures] == ["half", "value"]
    assert all("surrogate" in failure.reason for failure in failures)
    assert store.retrieve("heart", 3, [Condition("field \ud83d", "=", "\ud83d")]) == []
    assert len(store.retrieve("heart \ud83d", 3)) == 3
    sound(opened, weaviate_server, collection, 3)


def set_shards(server: Server, collection: str, status: str) -> None:
    with urllib.request.urlopen(f"{server.url}/v1/schema/{collection}/shards") as answer:
        shards = [shard["name"] for shard in json.load(answer)]
    for shard in shards:
        request = urllib.request.Request(
            f"{server.url}/v1/schema/{collection}/shards/{shard}",
            data=json.dumps({"status": status}).encode(),
            headers={"Content-Type": "application/json"},
            method="PUT",
        )
        urllib.request.urlopen(request).close()


def test_a_read_only_server_stops_the_import(
    opened: Open, weaviate_server: Server, collection: str
) -> None:
    store = opened(weaviate_server, collection)
    assert store.put(random_entries(10)) == []
    set_shards(weaviate_server, collection, "READONLY")
    changed: list[Entry] = [entry("d0", "changed", version="2"), entry("more", "text")]
    with pytest.raises(StoreUnavailable, match=r"is read-only .* free space"):
        store.put(changed)
    with pytest.raises(StoreUnavailable, match="read-only"):
        store.delete(["d1"])
    assert len(store.retrieve("heart", 5)) == 5
    set_shards(weaviate_server, collection, "READY")
    sound(opened, weaviate_server, collection, 10)
    assert store.put(changed) == []
    assert store.stored(["d0", "more"]) == {"d0": Stored("2"), "more": Stored("1")}


def test_a_server_that_falls_silent_in_an_import_is_said_after_one_request(
    opened: Open, weaviate_server: Server, collection: str, proxy: Proxy
) -> None:
    """gRPC dropped as a firewall drops it: connections stay open, and nothing comes."""
    quick = at(proxy.port) | {"timeout_insert": 2, "timeout_connect": 1, "timeout_query": 2}
    store = opened(weaviate_server, collection, **quick)
    assert store.put(random_entries(10)) == []
    proxy.silent = True
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"fell silent|did not answer in time"):
        store.put(random_entries(300))
    assert time.monotonic() - started < 20


def test_what_the_index_of_properties_lost_is_sent_again(
    opened: Open, weaviate_server: Server, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a crash or a full disk leaves it: objects that are there, and that no filter finds."""
    store = opened(weaviate_server, collection)
    entries = list(random_entries(30))
    lost = {f"d{i}" for i in range(5)}
    sound = Objects.passages

    def torn(self: Objects, ids: Any, *, indexed: bool = False) -> Any:
        """Until they are deleted by id and sent anew."""
        found = sound(self, ids, indexed=indexed)
        return {name: one for name, one in found.items() if name not in lost}

    def deleted(self: Objects, identities: Any) -> None:
        gone = set(identities)
        for name in list(lost):
            if {object_id(name, 0), object_id(name, 1)} & gone:
                lost.discard(name)
        each(self, gone)

    each = Objects.remove_each
    monkeypatch.setattr(Objects, "passages", torn)
    monkeypatch.setattr(Objects, "remove_each", deleted)
    assert store.put(entries) == []
    monkeypatch.undo()
    assert lost == set()
    assert len(store.stored([entry.document.id for entry in entries])) == 30
    assert store.check(None) == []
