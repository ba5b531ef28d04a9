"""Reach a Weaviate: REST and gRPC are probed apart, and each failure says what to open or set."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import weaviate
from weaviate.classes.init import AdditionalConfig, Timeout
from weaviate.config import GrpcConfig, Proxies
from weaviate.exceptions import UnexpectedStatusCodeError, WeaviateBaseError

from config import WeaviateSettings
from search.errors import StoreUnavailable
from search.store.weaviate.address import EMBEDDED, Address, address_of
from search.store.weaviate.faults import short, translated
from search.store.weaviate.reaching import (
    credentials,
    heeds_environment,
    no_rest,
    probe_grpc,
    probe_rest,
)

EMBEDDED_ENVIRONMENT = {
    "DISABLE_TELEMETRY": "true",
    "LOG_LEVEL": "error",
    "GO_PROFILING_DISABLE": "true",  # it would want port 6060 of every embedded server
}

# Makes a read wait for a server that is gone no longer than weaviate.timeout_query; by itself the
# client tries for 63 seconds, whatever that says.
READS = ("Search", "Aggregate", "TenantsGet")
READS_WAIT = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": "weaviate.v1.Weaviate", "method": name} for name in READS],
                "waitForReady": True,
            }
        ]
    }
)

# Failed objects come back as values, and we report them; the client would print them as well.
logging.getLogger("weaviate-client").setLevel(logging.CRITICAL)


def connect(
    url: str, settings: WeaviateSettings, *, patient: bool = False
) -> tuple[weaviate.WeaviateClient, Address]:
    """A connected client; a `patient` one waits a minute in reads for a server that restarts.

    Raises ConfigError for the URL, StoreUnavailable for everything else.
    """
    address = address_of(url, settings)
    client = (
        _embedded(address, settings, patient)
        if url == EMBEDDED
        else _remote(address, settings, patient)
    )
    try:
        probe_grpc(address, settings.timeout_connect)
        if not client.is_ready():
            raise StoreUnavailable(
                f"Weaviate at {address.rest} is up but not ready: it is starting, or waits for "
                "its modules or nodes; try again in a moment, or see its log"
            )
    except BaseException:
        client.close()
        raise
    return client, address


def _remote(address: Address, settings: WeaviateSettings, patient: bool) -> weaviate.WeaviateClient:
    probe_rest(address, settings.timeout_connect)
    try:
        return weaviate.connect_to_custom(
            http_host=address.host,
            http_port=address.port,
            http_secure=address.tls,
            grpc_host=address.grpc_host,
            grpc_port=address.grpc_port,
            grpc_secure=address.grpc_tls,
            headers=settings.headers,
            auth_credentials=settings.api_key.get_secret_value() if settings.api_key else None,
            additional_config=_config(settings, address, patient),
            # Its checks ask PyPI for a newer client at every start; probe_grpc does the other one.
            skip_init_checks=True,
        )
    except UnexpectedStatusCodeError as error:
        if error.status_code in (401, 403):
            raise translated(error, address.rest) from error
        raise no_rest(address, str(error)) from error
    except (WeaviateBaseError, KeyError) as error:  # KeyError: JSON, but no Weaviate's
        raise no_rest(address, str(error)) from error


def _embedded(
    address: Address, settings: WeaviateSettings, patient: bool
) -> weaviate.WeaviateClient:
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
            additional_config=_config(settings, address, patient),
        )
    except (WeaviateBaseError, OSError) as error:
        raise StoreUnavailable(
            f"Weaviate Embedded {settings.embedded_version} did not start: {short(str(error))}. "
            "Only one process can run it: wait for the other, or set weaviate.embedded_binaries "
            "to a folder that holds this version when it cannot be downloaded"
        ) from error


def _config(settings: WeaviateSettings, address: Address, patient: bool) -> AdditionalConfig:
    return AdditionalConfig(
        timeout=Timeout(
            init=settings.timeout_connect,
            query=settings.timeout_query,
            insert=settings.timeout_insert,
        ),
        # No proxies of the client's finding: its way knows no NO_PROXY, while httpx and gRPC,
        # which look into the environment by themselves, do.
        proxies=Proxies(),
        trust_env=heeds_environment(address),
        grpc_config=GrpcConfig(
            channel_options=None if patient else [("grpc.service_config", READS_WAIT)],
            credentials=credentials() if address.grpc_tls else None,
        ),
    )
