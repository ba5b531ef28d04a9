"""A Weaviate, connected: what only REST can say of it, and how it is reached or started."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import weaviate
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.config import GrpcConfig, Proxies
from weaviate.connect import ConnectionParams
from weaviate.exceptions import UnexpectedStatusCodeError, WeaviateBaseError

from config import WeaviateSettings
from search.errors import ConfigError, StoreUnavailable
from search.store.weaviate.errors import short, translate
from search.store.weaviate.server.address import (
    EMBEDDED,
    Address,
    address_of,
    api_key,
    heeds_environment,
    request_headers,
)
from search.store.weaviate.server.probes import credentials, no_rest, probe_grpc, probe_rest

EMBEDDED_ENVIRONMENT = {
    "DISABLE_TELEMETRY": "true",
    "LOG_LEVEL": "error",
    "GO_PROFILING_DISABLE": "true",  # it would want port 6060 of every embedded server
    "ASYNC_INDEXING": "true",  # without it a crash can take documents out of the vector index
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


class Server:
    """A connected client, and what only REST can say of the server behind it."""

    def __init__(
        self, client: weaviate.WeaviateClient, address: Address, settings: WeaviateSettings
    ) -> None:
        self.client = client
        self.address = address
        self._seconds = settings.timeout_connect
        self._headers = request_headers(settings)

    @property
    def url(self) -> str:
        return self.address.rest

    def close(self) -> None:
        self.client.close()

    def version(self) -> str:
        """As "1.39.0"."""
        return str(self.client._connection.server_version)

    def modules(self) -> dict[str, Any]:
        """The modules it has. Raises StoreUnavailable where one waits for its model service."""
        try:
            return dict(self._get("meta").get("modules") or {})
        except httpx.TimeoutException:
            raise self.hung_module("a module") from None

    def module_hangs(self) -> bool:
        """Whether the server answers, but one of its modules gets no answer from its service."""
        try:
            self._get("meta")
        except httpx.TimeoutException:
            return self.lives()
        except httpx.HTTPError:
            return False
        return False

    def hung_module(self, module: str) -> StoreUnavailable:
        """The error for it."""
        return StoreUnavailable(
            f"Weaviate at {self.url} answers, but {module} of it waits for its model service, "
            "which is silent: see to the service that TRANSFORMERS_INFERENCE_API and "
            "RERANKER_INFERENCE_API name on the server (python -m search.serve is one; restart "
            "it); until then --set retrieval=bm25 works without it"
        )

    def lives(self) -> bool:
        """Whether both REST and gRPC answer within `timeout_connect`."""
        try:
            self._request("/v1/.well-known/live")
            probe_grpc(self.address, self._seconds)
        except (httpx.HTTPError, StoreUnavailable):
            return False
        return True

    def is_ready(self) -> bool:
        """Whether it says that it has started; False also when it cannot be asked."""
        try:
            return self._request("/v1/.well-known/ready").is_success
        except httpx.ReadTimeout:
            return True  # it asks the modules, and one of them waits for its service
        except httpx.HTTPError:
            return False

    def indexes_later(self) -> bool | None:
        """Whether vectors are indexed from a queue on disk (ASYNC_INDEXING); None: it won't say.

        A node counts the batches that wait in memory only where there is no such queue.
        """
        nodes = self._nodes("nodes")
        if not nodes:
            return None
        return all("queueLength" not in (node.get("batchStats") or {}) for node in nodes)

    def queue_length(self, collection: str) -> int | None:
        """Vectors of this class that wait on disk to be indexed; None: the server won't say."""
        nodes = self._nodes(f"nodes/{collection}")
        if not nodes:
            return None
        shards = (shard for node in nodes for shard in node.get("shards") or [])
        return sum(int(shard.get("vectorQueueLength", 0)) for shard in shards)

    def find(self, path: str) -> dict[str, Any] | None:
        """What REST has under this path; None when it is not there. Raises StoreUnavailable."""
        try:
            return self._get(path)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise translate(error, self.url) from error
        except httpx.HTTPError as error:
            raise translate(error, self.url) from error

    def _nodes(self, path: str) -> list[dict[str, Any]]:
        try:
            return list(self._get(f"{path}?output=verbose").get("nodes") or [])
        except (httpx.HTTPError, ValueError):
            return []  # a key may read the class and not the nodes

    def _get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._request(f"/v1/{path}").raise_for_status().json()
        return found

    def _request(self, path: str) -> httpx.Response:
        return httpx.get(
            f"{self.url}{path}",
            headers=self._headers,
            timeout=self._seconds,
            trust_env=heeds_environment(self.address),
        )


def connect(url: str, settings: WeaviateSettings, *, patient: bool = False) -> Server:
    """A connected server; with `patient`, reads wait up to a minute for one that restarts.

    Raises ConfigError for the URL or the key, StoreUnavailable for everything else.
    """
    address = address_of(url, settings)
    open_client = _embedded if url == EMBEDDED else _remote
    server = Server(open_client(address, settings, patient), address, settings)
    try:
        probe_grpc(address, settings.timeout_connect)
        if not server.is_ready():
            raise StoreUnavailable(
                f"Weaviate at {address.rest} is up but not ready: it is starting, or waits for "
                "its modules or nodes; try again in a moment, or see its log"
            )
    except BaseException:
        server.close()
        raise
    return server


def _remote(address: Address, settings: WeaviateSettings, patient: bool) -> weaviate.WeaviateClient:
    headers = request_headers(settings)
    version = probe_rest(address, headers, settings.timeout_connect)
    key = api_key(settings)
    client = weaviate.WeaviateClient(
        connection_params=ConnectionParams.from_params(
            http_host=address.host,
            http_port=address.port,
            http_secure=address.tls,
            grpc_host=address.grpc_host,
            grpc_port=address.grpc_port,
            grpc_secure=address.grpc_tls,
        ),
        auth_client_secret=None if key is None else Auth.api_key(key),
        additional_headers={n: v for n, v in headers.items() if n != "Authorization"},
        additional_config=_config(settings, address, patient),
        # Its checks ask PyPI for a newer client at every start; probe_grpc does the other one.
        skip_init_checks=True,
    )
    if version is not None:
        # Connecting asks for /v1/meta, and that asks the modules: a model service that hangs would
        # keep us from searches that need no model.
        client._connection.get_meta = lambda *_: {"version": version}  # type: ignore[method-assign]
    try:
        client.connect()
    except UnexpectedStatusCodeError as error:
        client.close()
        if error.status_code in (401, 403):
            raise translate(error, address.rest) from error
        raise no_rest(address, str(error)) from error
    except (WeaviateBaseError, httpx.HTTPError, KeyError) as error:  # KeyError: another's JSON
        client.close()
        raise no_rest(address, str(error)) from error
    return client


def _embedded(
    address: Address, settings: WeaviateSettings, patient: bool
) -> weaviate.WeaviateClient:
    folder = settings.embedded_binaries
    try:
        settings.embedded_data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"weaviate.embedded_data {settings.embedded_data} cannot be made a folder: "
            f"{error.strerror}; name another"
        ) from error
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
        # The client's own search for a proxy ignores NO_PROXY; httpx and gRPC, which look into
        # the environment by themselves, heed it.
        proxies=Proxies(),
        trust_env=heeds_environment(address),
        grpc_config=GrpcConfig(
            channel_options=None if patient else [("grpc.service_config", READS_WAIT)],
            credentials=credentials() if address.grpc_tls else None,
        ),
    )
