"""Reach a Weaviate: REST and gRPC are probed apart, and each failure says what to open or set."""

from __future__ import annotations

import logging
from pathlib import Path

import grpc  # type: ignore[import-untyped]  # its stubs are a package of their own
import weaviate
from weaviate.classes.init import AdditionalConfig, Timeout
from weaviate.exceptions import UnexpectedStatusCodeError, WeaviateBaseError

from config import WeaviateSettings
from search.errors import StoreUnavailable
from search.store.weaviate.address import EMBEDDED, Address, address_of
from search.store.weaviate.faults import short, translated

EMBEDDED_ENVIRONMENT = {
    "DISABLE_TELEMETRY": "true",
    "LOG_LEVEL": "error",
    "GO_PROFILING_DISABLE": "true",  # it would want port 6060 of every embedded server
}

# Failed objects come back as values, and we report them; the client would print them as well.
logging.getLogger("weaviate-client").setLevel(logging.CRITICAL)


def connect(url: str, settings: WeaviateSettings) -> tuple[weaviate.WeaviateClient, Address]:
    """A connected client. Raises ConfigError for the URL, StoreUnavailable for everything else."""
    address = address_of(url, settings)
    client = _embedded(address, settings) if url == EMBEDDED else _remote(address, settings)
    try:
        _probe_grpc(address, settings.timeout_connect)
        if not client.is_ready():
            raise StoreUnavailable(
                f"Weaviate at {address.rest} is up but not ready: it is starting, or waits for "
                "its modules or nodes; try again in a moment, or see its log"
            )
    except BaseException:
        client.close()
        raise
    return client, address


def _remote(address: Address, settings: WeaviateSettings) -> weaviate.WeaviateClient:
    try:
        return weaviate.connect_to_custom(
            http_host=address.host,
            http_port=address.port,
            http_secure=address.tls,
            grpc_host=address.grpc_host,
            grpc_port=address.grpc_port,
            grpc_secure=address.grpc_tls,
            headers=settings.headers,
            auth_credentials=settings.api_key,
            additional_config=_timeouts(settings),
            # Its checks ask PyPI for a newer client at every start; _probe_grpc does the other one.
            skip_init_checks=True,
        )
    except UnexpectedStatusCodeError as error:
        if error.status_code in (401, 403):
            raise translated(error, address.rest) from error
        raise _no_rest(address, error) from error
    except (WeaviateBaseError, KeyError) as error:  # KeyError: JSON, but no Weaviate's
        raise _no_rest(address, error) from error


def _no_rest(address: Address, error: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        f"no usable Weaviate at {address.rest} ({short(str(error))}); start one "
        "(docker compose up -d), or set weaviate_url (WEAVIATE_URL) to where it runs"
    )


def _embedded(address: Address, settings: WeaviateSettings) -> weaviate.WeaviateClient:
    folder = settings.embedded_binaries
    settings.embedded_data.mkdir(parents=True, exist_ok=True)
    try:
        return weaviate.connect_to_embedded(
            hostname=address.host,
            port=address.port,
            grpc_port=address.grpc_port,
            headers=settings.headers,
            version=settings.embedded_version,
            binary_path=None if folder is None else str(folder),
            persistence_data_path=str(Path(settings.embedded_data).resolve()),
            environment_variables=EMBEDDED_ENVIRONMENT,
            additional_config=_timeouts(settings),
        )
    except (WeaviateBaseError, OSError) as error:
        raise StoreUnavailable(
            f"Weaviate Embedded {settings.embedded_version} did not start: {short(str(error))}. "
            "Only one process can run it: wait for the other, or set weaviate.embedded_binaries "
            "to a folder that holds this version when it cannot be downloaded"
        ) from error


def _timeouts(settings: WeaviateSettings) -> AdditionalConfig:
    return AdditionalConfig(
        timeout=Timeout(
            init=settings.timeout_connect,
            query=settings.timeout_query,
            insert=settings.timeout_insert,
        )
    )


def _probe_grpc(address: Address, seconds: float) -> None:
    """Whether something speaks gRPC there: a REST port or a closed one fails here, with a cause."""
    channel = (
        grpc.secure_channel(address.grpc, grpc.ssl_channel_credentials())
        if address.grpc_tls
        else grpc.insecure_channel(address.grpc)
    )
    try:
        grpc.channel_ready_future(channel).result(timeout=seconds)
    except grpc.FutureTimeoutError:
        raise StoreUnavailable(
            f"Weaviate's REST answers at {address.rest}, but its gRPC does not at {address.grpc} "
            f"(waited {seconds:g} s); publish that port (docker: -p 50051:50051, and open it in "
            "the firewall), or set weaviate.grpc_port, weaviate.grpc_host or weaviate.grpc_tls"
        ) from None
    finally:
        channel.close()
