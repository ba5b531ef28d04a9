"""Where a Weaviate answers, and what each request carries, as the settings say; nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from config import WeaviateSettings
from search.errors import ConfigError

GRPC_PORT = 50051
EMBEDDED = "embedded"
EMBEDDED_GRPC_PORT = 50060
CLOUD = (".weaviate.cloud", ".weaviate.network")


@dataclass(frozen=True, slots=True)
class Address:
    """Both ends of one server; `tls` and `grpc_tls` say which of them are encrypted."""

    host: str
    port: int
    tls: bool
    grpc_host: str
    grpc_port: int
    grpc_tls: bool

    @property
    def rest(self) -> str:
        """As a URL."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    @property
    def grpc(self) -> str:
        """As host:port."""
        return f"{self.grpc_host}:{self.grpc_port}"


def heeds_environment(address: Address) -> bool:
    """Servers behind TLS may lie behind a proxy (HTTPS_PROXY) or a company's own authority; one
    without TLS, perhaps on this machine, is asked directly.
    """
    return address.tls


def address_of(url: str, settings: WeaviateSettings) -> Address:
    """The address that `weaviate_url` and the `grpc_*` settings name. Raises ConfigError."""
    if url == EMBEDDED:
        local = "127.0.0.1"
        grpc_port = settings.grpc_port or EMBEDDED_GRPC_PORT
        return Address(local, settings.embedded_port, False, local, grpc_port, False)
    host, port, tls = _rest(url)
    cloud = host.endswith(CLOUD)
    address = Address(
        host,
        port,
        tls,
        settings.grpc_host or (_cloud_grpc_host(host) if cloud else host),
        settings.grpc_port or (443 if cloud else GRPC_PORT),
        tls if settings.grpc_tls is None else settings.grpc_tls,
    )
    if (address.host, address.port) == (address.grpc_host, address.grpc_port):
        raise ConfigError(
            f"weaviate_url and weaviate.grpc_port both name {address.grpc}; REST and gRPC are two "
            f"ports of one server, usually 8080 and {GRPC_PORT}"
        )
    return address


def request_headers(settings: WeaviateSettings) -> dict[str, str]:
    """What every request carries. Raises ConfigError, which names the setting and not its value."""
    headers = {
        name: _sendable(f"weaviate.headers {name!r}", value)
        for name, value in settings.headers.items()
    }
    key = api_key(settings)
    return headers if key is None else headers | {"Authorization": f"Bearer {key}"}


def api_key(settings: WeaviateSettings) -> str | None:
    """Without the newline that ends a file with a secret. Raises ConfigError."""
    key = None if settings.api_key is None else settings.api_key.get_secret_value()
    return _sendable("weaviate.api_key (WEAVIATE_API_KEY)", key) if key and key.strip() else None


def _sendable(name: str, value: str) -> str:
    value = value.strip()
    odd = next((i for i, c in enumerate(value) if not 0x20 <= ord(c) < 0x7F), None)
    if odd is not None:
        raise ConfigError(
            f"{name} has a character at position {odd + 1} that a header cannot carry (a line end, "
            "or a letter outside ASCII; the value is not shown): copy it again"
        )
    return value


def _rest(url: str) -> tuple[str, int, bool]:
    """Host, port and whether TLS is spoken. Weaviate Cloud shows a bare host: that means https."""
    bare_cloud = "://" not in url and url.rstrip("/").endswith(CLOUD)
    try:
        parts = urlsplit(f"https://{url}" if bare_cloud else url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"weaviate_url {url!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ConfigError(
            f"weaviate_url is {url!r}; expected http://HOST:PORT or https://HOST:PORT "
            f"without a path, or {EMBEDDED!r}"
        )
    tls = parts.scheme == "https"
    return parts.hostname, port or (443 if tls else 80), tls


def _cloud_grpc_host(host: str) -> str:
    """Weaviate Cloud answers gRPC under a name of its own."""
    if host.endswith(".weaviate.network"):
        cluster, _, domain = host.partition(".")
        return f"{cluster}.grpc.{domain}"
    return f"grpc-{host}"
