"""A Weaviate broken on purpose: nothing lost, nothing doubled, and the error says what to do."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any, Protocol

import pytest
from store_support import HashedWords, entry, random_entries
from tcp_proxy import Proxy
from weaviate_server import Server

import config
from search.errors import ModelMismatch, StoreError, StoreMissing, StoreUnavailable
from search.store.weaviate import schema
from search.store.weaviate.objects import Objects
from search.store.weaviate.schema import object_id
from search.store.weaviate.store import WeaviateStore
from search.types import Condition, Document, Entry, Location, Passage, Source, Stored


class Open(Protocol):
    """Opens a store of a class, with these settings of the `weaviate:` section."""

    def __call__(
        self, server: Server, collection: str, model: HashedWords | None = None, **settings: Any
    ) -> WeaviateStore: ...


@pytest.fixture
def opened() -> Iterator[Open]:
    """Closes what it opened when the test ends."""
    with ExitStack() as stack:

        def open_one(
            server: Server, collection: str, model: HashedWords | None = None, **settings: Any
        ) -> WeaviateStore:
            flags: dict[str, Any] = {"weaviate.vectorizer": "none"} | server.flags
            flags |= {f"weaviate.{name}": value for name, value in settings.items()}
            flags["weaviate.collection"] = collection
            store = WeaviateStore(config.load(flags), lambda: model or HashedWords(), create=True)
            return stack.enter_context(closing(store))

        yield open_one


@pytest.fixture
def proxy(weaviate_server: Server) -> Iterator[Proxy]:
    """Between the client and the server's gRPC."""
    proxy = Proxy((weaviate_server.rest[0], weaviate_server.grpc_port))
    yield proxy
    proxy.close()


def at(port: int) -> dict[str, Any]:
    """Settings that send gRPC to this port of this machine."""
    return {"grpc_host": "127.0.0.1", "grpc_port": port}


def sound(opened: Open, server: Server, collection: str, documents: int) -> None:
    """The store, asked past any proxy, has all documents once and whole."""
    store = opened(server, collection)
    assert store.check() == []
    assert len(list(store.ids())) == len(set(store.ids())) == documents
    info = store.describe()
    assert (info.documents, info.passages) == (documents, 2 * documents)


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


def create_class(server: Server, definition: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"{server.url}/v1/schema",
        data=json.dumps(definition).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()


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


def test_a_class_that_differs_is_named_and_left_alone(
    opened: Open, weaviate_server: Server, collection: str
) -> None:
    store = opened(weaviate_server, collection)
    store.put(random_entries(3))
    with pytest.raises(StoreError, match=r"tokenization is 'word', expected 'trigram'.*left as it"):
        opened(weaviate_server, collection, tokenization="trigram")
    with pytest.raises(StoreError, match="multi-tenant is False, expected True"):
        opened(weaviate_server, collection, tenant="ours")
    with pytest.raises(ModelMismatch, match=r"'hashed-words'.*this run has name 'other'"):
        opened(weaviate_server, collection, HashedWords("other"))
    sound(opened, weaviate_server, collection, 3)


def test_a_foreign_class_is_not_touched(
    opened: Open, weaviate_server: Server, collection: str
) -> None:
    properties = [{"name": "a", "dataType": ["int"]}]
    create_class(weaviate_server, {"class": collection, "properties": properties})
    with pytest.raises(StoreError, match="was made by others"):
        opened(weaviate_server, collection)


def test_counts_that_a_full_disk_left_too_high_are_explained(
    opened: Open, weaviate_server: Server, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(weaviate_server, collection)
    assert store.put(random_entries(3)) == []
    monkeypatch.setattr(Objects, "count", lambda *_: 8)
    (fault,) = store.check()
    assert fault.count == 2
    assert "counts 8 passages, but 6 are there: all of these are searched" in fault.reason


def test_a_class_made_before_is_searched_as_it_is_and_gets_what_came_later_when_written_to(
    opened: Open, weaviate_server: Server, collection: str
) -> None:
    """Without sources, locations, shared values and words of its own; BM25 reads the text."""
    settings = config.load({"weaviate.collection": collection, "weaviate.tokenization": "word"})
    described = schema.Description(HashedWords().info)
    older = schema.class_schema(settings.weaviate, "none", described)
    older["properties"] = [p for p in older["properties"] if p["name"] not in schema.ADDED]
    create_class(weaviate_server, older)
    only_read = WeaviateStore(
        config.load(weaviate_server.flags | {"weaviate.collection": collection}), HashedWords
    )
    with closing(only_read) as store:
        assert store.retrieve("heart", 5) == []
        assert store.stored(["a"]) == {}
        assert store.check() == []
    store = opened(weaviate_server, collection)
    document = Document("a", "", "heart", {"year": 1}, Source("/notes/a.md", 3))
    passage = Passage("heart", Location(line=3, heading="H"))
    assert store.put([Entry(document, (passage,), "1")]) == []
    assert store.stored(["a"])["a"].source == document.source
    for mode in ("bm25", "near_text", "hybrid"):
        (found,) = store.retrieve("HEART!", 5, [Condition("year", "=", 1)], mode)
        assert (found.source, found.location) == (document.source, passage.location)


def test_what_is_missing_is_not_made_by_a_search(
    opened: Open, weaviate_server: Server, collection: str
) -> None:
    settings = config.load(
        weaviate_server.flags | {"weaviate.collection": collection, "weaviate.vectorizer": "none"}
    )
    with pytest.raises(StoreMissing, match=f"no class '{collection}' yet: run `python -m ingest"):
        WeaviateStore(settings, HashedWords)


def test_a_module_that_the_server_lacks_is_named(opened: Open, weaviate_server: Server) -> None:
    with pytest.raises(StoreError, match=r"lacks the module 'text2vec-nothing'.*ENABLE_MODULES"):
        opened(weaviate_server, "Any", vectorizer="text2vec-nothing")


def test_tenants_do_not_see_each_other(
    opened: Open, weaviate_server: Server, collection: str
) -> None:
    one = opened(weaviate_server, collection, tenant="one")
    two = opened(weaviate_server, collection, tenant="two")
    assert one.put([entry("a", "heart")]) == []
    assert two.put([entry("b", "heart"), entry("c", "stroke")]) == []
    assert [c.document_id for c in one.retrieve("heart", 9)] == ["a"]
    assert (one.describe().documents, two.describe().documents) == (1, 2)
    assert two.delete(["a"]) == 0
    settings = config.load(
        weaviate_server.flags
        | {
            "weaviate.collection": collection,
            "weaviate.vectorizer": "none",
            "weaviate.tenant": "three",
        }
    )
    with pytest.raises(StoreMissing, match="no tenant 'three' yet"):
        WeaviateStore(settings, HashedWords)
    with pytest.raises(StoreError, match=r"multi-tenant is True.*weaviate.tenant names"):
        opened(weaviate_server, collection)


def test_an_inactive_tenant_is_named_with_the_remedy(
    opened: Open, weaviate_server: Server, collection: str
) -> None:
    store = opened(weaviate_server, collection, tenant="one")
    assert store.put([entry("a", "heart")]) == []
    request = urllib.request.Request(
        f"{weaviate_server.url}/v1/schema/{collection}/tenants",
        data=json.dumps([{"name": "one", "activityStatus": "COLD"}]).encode(),
        headers={"Content-Type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(request).close()
    with pytest.raises(StoreUnavailable, match=r"weaviate.tenant names is .*ACTIVE"):
        opened(weaviate_server, collection, tenant="one")
    with pytest.raises(StoreUnavailable, match=r"weaviate.tenant names is not active .*ACTIVE"):
        store.retrieve("heart", 3)


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
