"""Classes and tenants that are not as set, or not ours: named, and left as they are."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from store_support import HashedWords, entry, random_entries
from weaviate_nodes import Server
from weaviate_stores import Open, opening, sound

import config
from search.errors import ModelMismatch, StoreError, StoreMissing, StoreUnavailable
from search.store.weaviate import schema
from search.store.weaviate.objects import Objects
from search.store.weaviate.store import WeaviateStore
from search.types import Condition, Document, Entry, Location, Passage, Source


@pytest.fixture
def opened() -> Iterator[Open]:
    with opening() as open_store:
        yield open_store


def create_class(server: Server, definition: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"{server.url}/v1/schema",
        data=json.dumps(definition).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()


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
    with pytest.raises(StoreMissing, match=f"no class '{collection}' yet: run `two-stage ingest"):
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
