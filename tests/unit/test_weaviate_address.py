"""Where a Weaviate answers, from the URL that users have at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import config
from search.errors import ConfigError
from search.store.weaviate.server import connect
from search.store.weaviate.server.address import Address, address_of, request_headers


def address(url: str, **settings: Any) -> Address:
    flags = {f"weaviate.{name}": value for name, value in settings.items()}
    return address_of(url, config.load(flags).weaviate)


def test_a_local_server() -> None:
    found = address("http://localhost:8080")
    assert found == Address("localhost", 8080, False, "localhost", 50051, False)
    assert (found.rest, found.grpc) == ("http://localhost:8080", "localhost:50051")


def test_a_custom_host_with_tls() -> None:
    found = address("https://search.example.org/", grpc_host="grpc.example.org", grpc_port=443)
    assert found == Address("search.example.org", 443, True, "grpc.example.org", 443, True)
    assert address("https://example.org", grpc_tls=False).grpc_tls is False
    assert address("http://example.org").port == 80


@pytest.mark.parametrize("url", ["https://abc.c0.weaviate.cloud", "abc.c0.weaviate.cloud"])
def test_weaviate_cloud_has_a_grpc_host_of_its_own(url: str) -> None:
    host = "abc.c0.weaviate.cloud"
    assert address(url) == Address(host, 443, True, f"grpc-{host}", 443, True)
    assert address("https://abc.weaviate.network").grpc_host == "abc.grpc.weaviate.network"


def test_embedded() -> None:
    assert address("embedded") == Address("127.0.0.1", 8079, False, "127.0.0.1", 50060, False)
    assert address("embedded", embedded_port=8179, grpc_port=50160).grpc == "127.0.0.1:50160"


@pytest.mark.parametrize(
    "url",
    ["localhost:8080", "ftp://x", "http://", "http://host:port", "http://h:1/v1", "http://[x"],
)
def test_an_unusable_url_is_named(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        address(url)
    assert url in str(caught.value)


def test_one_port_cannot_be_both() -> None:
    with pytest.raises(ConfigError, match="both name localhost:50051"):
        address("http://localhost:50051")


@pytest.mark.parametrize("given", ["key\n", " key\r\n", "key"])
def test_the_line_end_of_a_file_with_a_key_is_no_part_of_it(given: str) -> None:
    settings = config.load({"weaviate.api_key": given}).weaviate
    assert request_headers(settings) == {"Authorization": "Bearer key"}


@pytest.mark.parametrize("key", ["secrét", "sec\nret", "secret\x00"])
def test_a_key_that_no_header_can_carry_is_named_and_not_shown(key: str) -> None:
    for flags in ({"weaviate.api_key": key}, {"weaviate.headers": {"X-Key": key}}):
        with pytest.raises(ConfigError, match=r"cannot carry") as caught:
            request_headers(config.load(flags).weaviate)
        assert "sec" not in str(caught.value)


def test_an_empty_key_is_none() -> None:
    assert request_headers(config.load({"weaviate.api_key": "\n"}).weaviate) == {}


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = config.load({"weaviate.embedded_data": tmp_path / "file" / "data"}, {}, [])
    with pytest.raises(ConfigError, match=r"embedded_data .*file/data cannot be made a folder"):
        connect("embedded", settings.weaviate)
