"""Whether something answers there: REST and gRPC are asked apart; each failure says what helps."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import grpc  # type: ignore[import-untyped]  # its stubs are a package of their own
import httpx

from search.errors import ConfigError, StoreUnavailable
from search.store.weaviate.errors import short
from search.store.weaviate.server.address import Address, heeds_environment

UNTRUSTED = (
    "trust it: set SSL_CERT_FILE to a PEM file with the certificate of the authority that signed "
    "it (used for REST and gRPC), and name the host as the certificate does"
)


def credentials() -> grpc.ChannelCredentials:
    """gRPC trusts the file that SSL_CERT_FILE names, as httpx does; without one, its own list."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None or paths.cafile == paths.openssl_cafile:
        return grpc.ssl_channel_credentials()
    return grpc.ssl_channel_credentials(Path(paths.cafile).read_bytes())


def probe_rest(address: Address, headers: dict[str, str], seconds: float) -> str | None:
    """Whether something speaks HTTP there and, behind TLS, is trusted.

    The server's version where /v1/meta waits for a module's service, else None. Raises
    StoreUnavailable, or ConfigError for a file of certificates.
    """

    def get(path: str) -> httpx.Response:
        trust = heeds_environment(address)
        return httpx.get(f"{address.rest}{path}", headers=headers, timeout=seconds, trust_env=trust)

    try:
        get("/v1/.well-known/live")
        with suppress(httpx.ReadTimeout):
            get("/v1/meta")
            return None
        nodes = get("/v1/nodes").json().get("nodes") or [{}]
        return str(nodes[0].get("version") or "1.27.0")  # the oldest that the client takes
    except httpx.TimeoutException as error:
        cause = f"no answer in {seconds:g} s, as weaviate.timeout_connect says"
        raise no_rest(address, cause) from error
    except (httpx.HTTPError, ValueError) as error:
        raise no_rest(address, str(error)) from error
    except OSError as error:  # no such file, or, as ssl.SSLError, no certificate in it
        raise ConfigError(
            f"SSL_CERT_FILE cannot be used ({error}); set it to a PEM file with the certificates "
            "to trust, or unset it"
        ) from error


def probe_grpc(address: Address, seconds: float) -> None:
    """Whether something speaks gRPC there: a REST port or a closed one fails here, with a cause."""
    channel = (
        grpc.secure_channel(address.grpc, credentials())
        if address.grpc_tls
        else grpc.insecure_channel(address.grpc)
    )
    try:
        grpc.channel_ready_future(channel).result(timeout=seconds)
    except grpc.FutureTimeoutError:
        cause = _cause(channel)
        trust = "; its certificate has to be trusted as well (SSL_CERT_FILE)"
        raise StoreUnavailable(
            f"Weaviate's REST answers at {address.rest}, but its gRPC does not at {address.grpc} "
            f"({'with' if address.grpc_tls else 'without'} TLS, waited {seconds:g} s: {cause}); "
            "publish that port (docker: -p 50051:50051, and open it in the firewall), or set "
            "weaviate.grpc_port, weaviate.grpc_host or weaviate.grpc_tls"
            f"{trust if address.grpc_tls else ''}"
        ) from None
    finally:
        channel.close()


def no_rest(address: Address, cause: str) -> StoreUnavailable:
    """The error for whatever is wrong with REST at that address."""
    if "CERTIFICATE_VERIFY_FAILED" in cause:
        remedy = UNTRUSTED
    elif "WRONG_VERSION_NUMBER" in cause:
        remedy = f"it speaks no TLS: set weaviate_url to http://{address.host}:{address.port}"
    else:
        remedy = (
            "start one (docker compose up -d), or set weaviate_url (WEAVIATE_URL) to where it "
            "runs, with https:// where it speaks TLS"
        )
    return StoreUnavailable(f"no usable Weaviate at {address.rest} ({short(cause)}); {remedy}")


def _cause(channel: grpc.Channel) -> str:
    """A failed connection says why to the call that wanted it."""
    ask = channel.unary_unary("/grpc.health.v1.Health/Check")
    with suppress(grpc.RpcError):
        ask(b"", timeout=1)
    try:
        ask(b"", timeout=1)
    except grpc.RpcError as error:
        return short(str(error.details()))
    return "it answers now"
