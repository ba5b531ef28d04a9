"""Who may call: by key, or on this machine alone and not through a stranger's web page."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Self
from urllib.parse import urlsplit

from config import ServeSettings
from config.serve import Key
from search.errors import ConfigError

# What anyone may see: the page, which asks for a key, and whether the service is well.
OPEN = frozenset(
    {"/", "/favicon.ico", "/docs", "/openapi.json", "/live", "/ready", "/health"}
    | {"/.well-known/live", "/.well-known/ready"}
)
PAGE = "/page/"
READING = ("GET", "HEAD", "OPTIONS")
# What Weaviate's modules call; they have no way to send a key.
WEAVIATE = frozenset({"/vectors", "/rerank", "/meta", "/.well-known/live", "/.well-known/ready"})


class Refused(Exception):
    """The caller may not; `status` is 401, 403, 404 or 421, the message says what would help."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Access:
    """With keys, they decide. Without, browsers may call only from the service's own page."""

    def __init__(
        self,
        keys: Mapping[str, Key],
        hosts: Sequence[str] | None = None,
        weaviate_port: int | None = None,
    ) -> None:
        """`hosts`: the names it may be called by beside localhost, where no key is asked for.

        None: any, for a service that no browser can reach. At `weaviate_port` nobody is asked for a
        key, and there is only what Weaviate's modules call.
        """
        self._weaviate_port = weaviate_port
        self._keys = {
            name: (key.secret.get_secret_value().encode(), key) for name, key in keys.items()
        }
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    @classmethod
    def at(cls, address: str, settings: ServeSettings, weaviate_port: int | None = None) -> Self:
        """Access to a service that listens there. Raises ConfigError where keys are missing."""
        if settings.keys or _is_loopback(address):
            return cls(settings.keys, settings.hosts, weaviate_port)
        raise ConfigError(
            f"{address} can be reached from other machines, and there are no keys: set them, as in "
            'SEARCH_SERVE__KEYS="{team: write KEY, page: read KEY}" with a KEY from `openssl rand '
            "-hex 24`; or listen on 127.0.0.1 (--host). For Weaviate's modules alone, which send "
            "no key, `two-stage serve` has --weaviate HOST:PORT"
        )

    def admit(
        self, method: str, path: str, headers: Mapping[str, str], port: int | None = None
    ) -> str | None:
        """The name of the caller's key; None where none is needed. Raises Refused."""
        if port is not None and port == self._weaviate_port:
            if path not in WEAVIATE:
                raise Refused(404, "at this port there is only what Weaviate's modules call")
            return None
        if not self._keys:
            self._check_browser(method, headers)
            return None
        name = self._name_of(headers)
        if path in OPEN or path.startswith(PAGE):
            return name
        if name is None:
            raise Refused(
                401, "this service wants a key: send the header `Authorization: Bearer KEY`"
            )
        if path.startswith("/documents") and method not in READING and not self.may_write(name):
            raise Refused(
                403, f"the key {name!r} may read, not write; this needs one that may write"
            )
        return name

    def may_write(self, name: str | None) -> bool:
        """Whether who came with this key may add and delete documents."""
        return not self._keys or (name in self._keys and self._keys[name][1].may == "write")

    def _name_of(self, headers: Mapping[str, str]) -> str | None:
        """Whose key it is. Every key is compared whole, so that time tells nothing."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        found = None
        for name, (secret, _) in self._keys.items():
            if hmac.compare_digest(secret, given.encode("latin-1", "replace")):
                found = name
        return found

    def _check_browser(self, method: str, headers: Mapping[str, str]) -> None:
        """Nothing here asks for a password, so a page of another origin must not get through.

        Neither under a name of its own that leads here (DNS rebinding), nor by sending a form.
        """
        host = headers.get("host")
        if self._hosts is None or host is None:
            return
        name = _host_name(host)
        if not (
            name in self._hosts
            or name == "localhost"
            or name.endswith(".localhost")
            or _is_loopback(name)
        ):
            raise Refused(
                421,
                f"found the host name {name!r}, expected localhost or 127.0.0.1; allow others with "
                "the setting serve.hosts",
            )
        if method in READING:
            return
        origin = headers.get("origin")
        foreign = origin is not None and _host_and_port(origin) != host.lower()
        if foreign or headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise Refused(
                403, f"a web page of another origin ({origin}) may not do this without a key"
            )


def _host_and_port(origin: str) -> str | None:
    """`http://localhost:8090` → `localhost:8090`; None for what is no origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _host_name(host: str) -> str:
    """`[::1]:8090` → `::1`"""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return host


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
