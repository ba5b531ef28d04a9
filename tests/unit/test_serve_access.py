"""Who may call: keys, and without keys nobody through a stranger's web page."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serve_fakes import make_service

import config
from search.errors import ConfigError
from search.serve.app import build_app
from search.serve.keys import Access, Refused

WRITE, READ = "w" * 20, "r" * 20
KEYS = {"serve.keys": {"team": f"write {WRITE}", "page": f"read {READ}"}}
DOCUMENT = {"id": "a", "text": "words"}


def settings(**values: Any) -> config.ServeSettings:
    return config.load(values, {}, []).serve


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A service that others can reach, with keys."""
    with TestClient(build_app(make_service(**KEYS))) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_without_a_key_nothing_of_the_documents_is_seen(client: TestClient) -> None:
    for method, path in [
        ("GET", "/search?q=a"), ("POST", "/search"), ("GET", "/documents"), ("GET", "/documents/a"),
        ("POST", "/documents"), ("DELETE", "/documents/a"), ("GET", "/status"), ("GET", "/metrics"),
        ("POST", "/rerank"), ("POST", "/vectors"), ("POST", "/v1/embeddings"), ("GET", "/meta"),
        ("GET", "/nowhere"),
    ]:  # fmt: skip
        for headers in (
            {},
            bearer("x" * 20),
            bearer(WRITE[:-1]),
            {"authorization": f"Basic {WRITE}"},
        ):
            answer = client.request(method, path, headers=headers)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/", "/page/page.js", "/live", "/ready", "/.well-known/ready", "/openapi.json"):
        assert client.get(path).status_code < 400, path


def test_a_reader_reads_and_a_writer_writes(client: TestClient) -> None:
    assert client.get("/search?q=a", headers=bearer(READ)).status_code == 200
    assert client.get("/search?q=a", headers={"x-api-key": READ}).status_code == 200
    for answer in (
        client.post("/documents", json=DOCUMENT, headers=bearer(READ)),
        client.delete("/documents/a", headers=bearer(READ)),
    ):
        assert answer.status_code == 403
        assert "'page'" in answer.json()["error"]
    assert client.get("/documents", headers=bearer(WRITE)).status_code == 200
    assert client.delete("/documents/a", headers=bearer(WRITE)).status_code != 403
    assert client.get("/status", headers=bearer(READ)).json()["may_write"] is False
    assert client.get("/status", headers=bearer(WRITE)).json()["may_write"] is True


def test_keys_are_not_in_the_log_but_their_names_are(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client.get("/search?q=secret+words", headers=bearer(READ))
    client.get("/search?q=secret+words", headers=bearer("wrong-wrong-wrong"))
    # The client has a log of its own.
    ours = [vars(record) for record in caplog.records if record.name.startswith("search")]
    assert [record["fields"].get("key") for record in ours] == ["page", None]
    for text in (READ, "wrong-wrong", "secret"):
        assert text not in str(ours)


@pytest.mark.parametrize("address", ["0.0.0.0", "10.0.0.5", "::", "2001:db8::1"])
def test_an_address_that_others_reach_needs_keys(address: str) -> None:
    with pytest.raises(ConfigError, match=r"there are no keys.*SEARCH_SERVE__KEYS"):
        Access.at(address, settings())
    Access.at(address, settings(**KEYS))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_alone_needs_none(address: str) -> None:
    assert Access.at(address, settings()).admit("GET", "/search", {"host": "localhost"}) is None


@pytest.mark.parametrize(
    "host", ["localhost:8090", "127.0.0.1", "[::1]:8090", "a.localhost", "LOCALHOST"]
)
def test_it_is_called_by_its_own_name(host: str) -> None:
    local = Access.at("127.0.0.1", settings())
    assert local.admit("GET", "/documents", {"host": host}) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8090", "0.0.0.0:8090", "localhost.evil.example", "", "["]
)
def test_a_name_that_leads_here_is_not_enough(host: str) -> None:
    """DNS rebinding: the browser takes evil.example for the page's own origin."""
    local = Access.at("127.0.0.1", settings())
    with pytest.raises(Refused, match=r"serve\.hosts"):
        local.admit("GET", "/documents", {"host": host})
    named = Access.at("127.0.0.1", settings(**{"serve.hosts": "[evil.example]"}))
    if host.startswith("evil"):
        assert named.admit("GET", "/documents", {"host": host}) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"origin": "http://[::1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://localhost:8090", "sec-fetch-site": "cross-site"},
    ],
)
def test_a_strangers_page_cannot_send_documents(headers: dict[str, str]) -> None:
    local = Access.at("127.0.0.1", settings())
    for method in ("POST", "DELETE", "PUT"):
        with pytest.raises(Refused, match="another origin"):
            local.admit(method, "/documents", {"host": "localhost:8090", **headers})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:8090"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_the_services_own_page_and_programs_may(headers: dict[str, str]) -> None:
    local = Access.at("127.0.0.1", settings())
    assert local.admit("POST", "/documents", {"host": "localhost:8090", **headers}) is None


def test_weaviates_port_has_its_modules_routes_alone() -> None:
    access = Access.at("0.0.0.0", settings(**KEYS), weaviate_port=8091)
    for path in ("/vectors", "/rerank", "/meta", "/.well-known/ready"):
        assert access.admit("POST", path, {"host": "models:8091"}, 8091) is None
        if not path.startswith("/."):
            with pytest.raises(Refused):
                access.admit("POST", path, {"host": "models:8090"}, 8090)
    for path in ("/search", "/documents", "/", "/status", "/v1/embeddings"):
        with pytest.raises(Refused, match="at this port") as refused:
            access.admit("GET", path, {}, 8091)
        assert refused.value.status == 404


def test_the_viewer_of_the_api_is_all_here(client: TestClient) -> None:
    """Nothing of it comes from elsewhere, nor may: there are machines without internet access."""
    shown = client.get("/docs")
    assert shown.status_code == 200
    assert "'self'" in shown.headers["content-security-policy"]
    assert "http" not in shown.headers["content-security-policy"]
    addresses = re.findall(r'(?:src|href)="([^"]+)"', shown.text)
    assert len(addresses) > 3
    for address in addresses:
        assert client.get(f"/{address}").status_code == 200, address
