"""A Weaviate as others run it: behind TLS of a private authority, and with API keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from store_support import HashedWords, random_entries
from tls_front import Front, missing, tls_front
from weaviate_server import Missing, killable

import config
from config import Settings
from search.errors import ConfigError, StoreUnavailable
from search.store.weaviate.store import WeaviateStore

KEYS = {
    "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
    "AUTHENTICATION_APIKEY_ENABLED": "true",
    "AUTHENTICATION_APIKEY_ALLOWED_KEYS": "right",
    "AUTHENTICATION_APIKEY_USERS": "tester",
}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    if absent := missing():
        pytest.skip(f"this test puts a server behind TLS: install {' and '.join(absent)}")
    folder = tmp_path_factory.mktemp("tls")
    with ExitStack() as stack:
        try:
            server = stack.enter_context(killable(folder))(KEYS)
        except Missing as reason:
            pytest.skip(f"this test has a server of its own: {reason}")
        server.start()
        server.wait()
        yield stack.enter_context(tls_front(server.server, folder / "front"))


@pytest.fixture
def trusted(front: Front, monkeypatch: pytest.MonkeyPatch) -> Front:
    """Its authority is trusted, by the one variable that the messages name."""
    monkeypatch.setenv("SSL_CERT_FILE", str(front.authority))
    return front


def settings(front: Front, key: str | None = "right", **more: object) -> Settings:
    flags: dict[str, object] = {"weaviate.vectorizer": "none", "weaviate.timeout_connect": 3}
    flags |= {"weaviate_url": front.url, "weaviate.grpc_port": front.grpc_port}
    flags |= {f"weaviate.{name}": value for name, value in more.items()}
    return config.load(flags | {"weaviate.api_key": key})


def refused(settings: Settings) -> str:
    """What the error says."""
    with pytest.raises(StoreUnavailable) as caught:
        WeaviateStore(settings, HashedWords, create=True)
    return str(caught.value)


def test_ingest_and_search_behind_tls_with_a_key(trusted: Front) -> None:
    with closing(WeaviateStore(settings(trusted), HashedWords, create=True)) as store:
        assert store.put(random_entries(20)) == []
        assert len(store.retrieve("heart", 5)) == 5
        assert store.check() == []
        assert store.describe().location.startswith(trusted.url)


@pytest.mark.parametrize("key", ["wrong", None])
def test_a_wrong_or_missing_key_is_told(trusted: Front, key: str | None) -> None:
    said = refused(settings(trusted, key))
    assert f"{trusted.url} does not let us in" in said
    assert "WEAVIATE_API_KEY" in said


def test_an_untrusted_certificate_is_told(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    said = refused(settings(front))
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert "set SSL_CERT_FILE" in said


def test_a_name_that_is_not_in_the_certificate_is_told(trusted: Front) -> None:
    by_number = Front(trusted.url.replace("localhost", "127.0.0.1"), 9, trusted.authority)
    said = refused(settings(by_number))
    assert "not valid for '127.0.0.1'" in said
    assert "name the host as the certificate does" in said


def test_an_unusable_file_of_certificates_is_named(
    front: Front, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for content in (None, "no certificate"):
        path = tmp_path / f"{content}.pem"
        if content is not None:
            path.write_text(content, encoding="utf-8")
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        with pytest.raises(ConfigError, match=r"SSL_CERT_FILE cannot be used .*PEM file"):
            WeaviateStore(settings(front), HashedWords)


def test_a_closed_grpc_port_is_told(trusted: Front) -> None:
    said = refused(settings(trusted, grpc_port=9))
    assert f"REST answers at {trusted.url}, but its gRPC does not at localhost:9 (with TLS" in said
    assert "Connection refused" in said
    assert "weaviate.grpc_port" in said


def test_tls_on_one_side_only_is_told(trusted: Front) -> None:
    said = refused(settings(trusted, grpc_tls=False))
    assert "without TLS" in said
    assert "weaviate.grpc_tls" in said
    rest = trusted.url.replace("https", "http")
    plain = Front(rest, trusted.grpc_port, trusted.authority)
    said = refused(settings(plain))
    assert f"no usable Weaviate at {rest}" in said
    assert "https:// where it speaks TLS" in said
