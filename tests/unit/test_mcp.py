"""The tools as a client sees them, in one process, without a model; and who may call over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import ListStore, candidate, searcher_over
from ingest_fakes import MemoryStore, WordTokenizer

import config
from config.serve import ServeSettings
from ingest.add import Adder
from search.errors import StoreUnavailable
from search.types import Kind, Passage, Source, StoredDocument

pytest.importorskip("mcp", reason="pip install -e '.[mcp]'")

from mcp import Client
from mcp.types import CallToolResult
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from search.mcp.http import Guarded, protection
from search.mcp.tools import MAX_CHARACTERS, build_server
from search.serve.keys import Access

FOUND = [candidate(name, name, 1 - rank / 10, rank) for rank, name in enumerate("abc", start=1)]
LOGITS = {"a": -1.0, "b": 3.0, "c": 1.0}
LONG = "word " * (MAX_CHARACTERS // 4)
KEYS = "{team: write 0123456789abcdef, page: read fedcba9876543210}"


class Documents(ListStore):
    """With one long document, a field to filter on, and a fault if there is to be one."""

    fault: Exception | None = None

    def retrieve(self, *args: Any, **kwargs: Any) -> Any:
        if self.fault is not None:
            raise self.fault
        return super().retrieve(*args, **kwargs)

    def get(self, document_id: str) -> StoredDocument | None:
        if document_id != "long":
            return None
        source = Source("/notes/long.md")
        return StoredDocument("long", "Long", {"year": 2020}, source, "", (Passage(LONG),))

    def fields(self) -> Mapping[str, frozenset[Kind]]:
        return {"year": frozenset({"number"})}


async def call(
    name: str, store: ListStore | None = None, adder: Adder | None = None, **arguments: Any
) -> CallToolResult:
    searcher = searcher_over(store or Documents(FOUND), LOGITS)
    async with Client(build_server(searcher, adder=adder)) as client:
        return await client.call_tool(name, arguments)


def error(result: CallToolResult) -> str:
    assert result.is_error
    (content,) = result.content
    assert content.type == "text"
    assert "Traceback" not in content.text
    return content.text


async def test_a_model_is_told_what_the_documents_are_and_where_their_fields_stand() -> None:
    server = build_server(searcher_over(Documents(FOUND), LOGITS), "minutes of the town council")
    async with Client(server) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "minutes of the town council" in (client.instructions or "")
        assert client.server_info.version
    assert set(tools) == {"search", "get_document"}
    search = tools["search"]
    assert "passages of minutes of the town council" in (search.description or "")
    assert "the fields that a hit's `metadata` shows" in (search.description or "")
    for tool in tools.values():
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint
        assert tool.output_schema
        for argument in tool.input_schema["properties"].values():
            assert argument["description"]


async def test_hits_come_in_the_final_order_as_structured_output() -> None:
    found = (await call("search", query="q", limit=2)).structured_content
    assert found is not None
    assert [hit["id"] for hit in found["hits"]] == ["b", "c"]
    assert found["hits"][0]["probability"] == pytest.approx(0.9526, abs=1e-4)
    assert (found["reranked"], found["reason"]) == (True, None)


async def test_a_failed_reranking_is_in_the_answer() -> None:
    store = Documents([candidate("new", "a passage that the table lacks", 0.9, 1)])
    found = (await call("search", store, query="q")).structured_content
    assert found is not None
    assert found["reranked"] is False
    assert "the reranker failed" in found["reason"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"query": " "}, "the query is empty: expected some words"),
        ({"query": "q", "filters": ["year"]}, "examples: lang=en"),
        ({"query": "q", "limit": 0}, "greater than or equal to 1"),
        ({}, "query"),
    ],
)
async def test_a_wrong_call_is_an_error_of_the_tool_that_says_what_to_mend(
    arguments: dict[str, Any], said: str
) -> None:
    assert said in error(await call("search", **arguments))


async def test_a_store_that_is_away_is_an_error_of_the_tool_and_a_bug_says_nothing() -> None:
    store = Documents(FOUND)
    store.fault = StoreUnavailable("the store is locked; try again")
    assert "the store is locked; try again" in error(await call("search", store, query="q"))
    store.fault = RuntimeError("secret detail")
    assert error(await call("search", store, query="q")) == "Error executing tool search"


async def test_a_long_document_comes_in_parts_that_make_the_whole() -> None:
    text, start = "", 0
    while start is not None:
        part = (await call("get_document", id="long", start=start)).structured_content
        assert part is not None
        assert len(part["text"]) <= MAX_CHARACTERS
        text += part["text"]
        start = part["next_start"]
    assert text == LONG
    assert part["characters"] == len(LONG)
    assert part["source"] == {"file": "/notes/long.md", "line": None}


async def test_an_unknown_id_says_where_to_take_one_from() -> None:
    assert "`id` of a hit" in error(await call("get_document", id="nowhere"))


@pytest.fixture
def adder(tmp_path: Path) -> Adder:
    settings = config.load({"store": str(tmp_path / "store.db")}, files=[])
    return Adder(settings, MemoryStore(), WordTokenizer())


async def test_documents_are_added_under_their_ids_or_one_made_of_the_content(adder: Adder) -> None:
    given = [
        {"id": "a", "title": "A", "text": "one"},
        {"text": "two", "metadata": {"url": "http://x", "name": "N", "year": 2020}},
        {"id": "c", "text": " "},
    ]
    added = (await call("add_documents", adder=adder, documents=given)).structured_content
    assert added is not None
    assert (added["stored"], added["unchanged"]) == (2, 0)
    assert added["rejected"] == [{"number": 3, "reason": "field 'text' is empty, expected text"}]
    first, second, _ = added["ids"]
    assert first == "a"
    stored = adder._store.get(second)  # type: ignore[attr-defined]
    assert stored.metadata == {"url": "http://x", "name": "N", "year": 2020}
    assert stored.title == ""
    again = (await call("add_documents", adder=adder, documents=given[:2])).structured_content
    assert again is not None
    assert (again["unchanged"], again["ids"]) == (2, [first, second])


async def test_who_may_not_write_is_told_so(adder: Adder) -> None:
    server = build_server(
        searcher_over(Documents(FOUND), LOGITS), adder=adder, may_write=lambda headers: False
    )
    async with Client(server) as client:
        result = await client.call_tool("add_documents", {"documents": [{"text": "x"}]})
    assert "this key may read, not write" in error(result)


def guarded(**settings: object) -> TestClient:
    serve = config.load({f"serve.{name}": v for name, v in settings.items()}, files=[]).serve
    app = Starlette(routes=[Route("/mcp", lambda request: PlainTextResponse("in"))])
    return TestClient(Guarded(app, Access.at("127.0.0.1", serve)), base_url="http://127.0.0.1")


def test_with_keys_nobody_comes_in_without_one() -> None:
    client = guarded(keys=KEYS)
    refused = client.get("/mcp")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer KEY" in refused.json()["error"]
    assert client.get("/mcp", headers={"Authorization": "Bearer 0123456789abcdef"}).text == "in"


def test_without_keys_nobody_comes_in_under_a_strangers_name() -> None:
    assert guarded().get("/mcp").text == "in"
    assert guarded().get("/mcp", headers={"Host": "evil.example"}).status_code == 421


def test_the_sdk_checks_names_unless_keys_do() -> None:
    def of(bound: str = "127.0.0.1", **given: object) -> Any:
        loaded: ServeSettings = config.load(
            {f"serve.{name}": v for name, v in given.items()}, files=[]
        ).serve
        return protection(loaded, bound)

    assert of().enable_dns_rebinding_protection
    assert not of(keys=KEYS).enable_dns_rebinding_protection
    assert of(keys=KEYS, hosts=["notes.example"]).enable_dns_rebinding_protection
    assert "notes.example:*" in of(hosts=["notes.example"]).allowed_hosts
    assert "127.0.0.2:*" in of("127.0.0.2").allowed_hosts
    assert "[::ffff:127.0.0.1]:*" in of("::ffff:127.0.0.1").allowed_hosts
