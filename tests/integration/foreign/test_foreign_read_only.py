"""Classes that others made are never written to; ours are still ours."""

from __future__ import annotations

import json
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import weaviate
from foreign_classes import Open, found, settings_of
from store_support import HashedWords, entry
from weaviate.classes.config import Configure, DataType, Property
from weaviate.classes.init import Auth
from weaviate_nodes import Server
from weaviate_server import Maker

from ingest.__main__ import main as ingest
from search.errors import StoreError, StoreMissing, StoreUnavailable
from search.store.open import open_store
from search.store.weaviate.store import WeaviateStore
from search.types import Source
from two_stage.__main__ import main as two_stage


def test_nothing_writes_to_it(
    others: weaviate.WeaviateClient,
    server: Server,
    name: str,
    opened: Open,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = others.collections.create(
        name, properties=[Property(name="text", data_type=DataType.TEXT)]
    )
    identity = there.data.insert({"text": "rain falls"})
    before = schema_of(server, name)
    store = opened()
    assert not store.describe().writable
    for write in (
        lambda: store.put([entry("a", "one")]),
        lambda: store.move({"a": Source("f")}),
        lambda: store.delete([str(identity)]),
        lambda: store.stored(["a"]),
        store.check,
        store.repair,
    ):
        with pytest.raises(StoreError, match=r"was made by others.*--set weaviate.collection=NAME"):
            write()
    with pytest.raises(StoreError, match="was made by others"):
        opened(create=True)
    (tmp_path / "a.txt").write_text("some words", encoding="utf-8")
    flags = [f"--set={key}={value}" for key, value in server.flags.items()]
    flags += [f"--set=weaviate.collection={name}", "--store", str(tmp_path / "s.db")]
    assert ingest([str(tmp_path / "a.txt"), *flags, "--quiet"]) == 1
    assert ingest([str(tmp_path / "a.txt"), *flags, "--dry-run", "--quiet"]) == 1
    assert ingest(["--verify", *flags]) == 1
    assert two_stage(["delete", str(identity), "--yes", *flags]) == 1
    said = capsys.readouterr().err
    assert said.count("was made by others") == 4
    assert "Traceback" not in said
    assert schema_of(server, name) == before
    assert there.aggregate.over_all(total_count=True).total_count == 1


def test_a_key_that_may_only_read_is_enough(make_weaviate: Maker) -> None:
    """So nothing is written on the way, either."""
    own = make_weaviate(
        {
            "ASYNC_INDEXING": "false",
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
            "AUTHENTICATION_APIKEY_ENABLED": "true",
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS": "owners,readers",
            "AUTHENTICATION_APIKEY_USERS": "owner,reader",
            "AUTHORIZATION_ADMINLIST_ENABLED": "true",
            "AUTHORIZATION_ADMINLIST_USERS": "owner",
            "AUTHORIZATION_ADMINLIST_READONLY_USERS": "reader",
        }
    )
    own.start()
    own.wait()
    vector = HashedWords().encode_query("rain falls").tolist()
    with weaviate.connect_to_local(
        *own.server.rest,
        grpc_port=own.server.grpc_port,
        skip_init_checks=True,
        auth_credentials=Auth.api_key("owners"),
    ) as owner:
        tenants = Configure.multi_tenancy(enabled=True, auto_tenant_creation=True)
        article = owner.collections.create("Article", multi_tenancy_config=tenants)
        article.with_tenant("a").data.insert({"title": "Rain", "body": "rain falls"}, vector=vector)
    settings = settings_of(own.server, "Article", api_key="readers", tenant="a")
    with closing(open_store(settings, embedder=HashedWords())) as store:
        for mode in ("hybrid", "near_text", "bm25"):
            (hit,) = found(store, "rain", mode)
            assert (hit.title, hit.passage) == ("Rain", "rain falls")
        (listed,) = store.documents()
        assert store.get(listed.id) is not None
        assert store.describe().documents == 1
    with pytest.raises(StoreUnavailable, match="does not let us in"):
        open_store(settings_of(own.server, "Article", api_key="strangers"))


def schema_of(server: Server, name: str) -> Any:
    with urllib.request.urlopen(f"{server.url}/v1/schema/{name}") as answer:
        return json.load(answer)


def test_a_class_of_ours_is_still_ours(opened: Open) -> None:
    ours = opened(create=True, vectorizer="none")
    assert isinstance(ours, WeaviateStore)
    assert ours.put([entry("a", "rain falls", title="Rain")]) == []
    again = opened(vectorizer="none")
    assert isinstance(again, WeaviateStore)
    assert [one.document_id for one in found(again, "rain")] == ["a"]
    assert again.describe().notes == ()
    assert again.describe().writable


def test_a_class_that_is_not_there_is_an_error_that_names_those_that_are(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    others.collections.create(name)
    with pytest.raises(StoreMissing, match=rf"no class 'Missing' yet \(it has .*{name}.*\): run"):
        opened(collection="Missing")
