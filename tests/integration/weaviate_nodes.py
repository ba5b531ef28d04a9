"""One Weaviate for tests: a process of a binary, or a container, killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

IMAGE = "semitechnologies/weaviate:1.39.0"
MODULES = "text2vec-transformers,reranker-transformers"
READY_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """Where it answers, what it is, and the port of this machine where its modules look for us."""

    url: str
    grpc_port: int
    kind: str
    service_port: int | None = None
    service_host: str = "127.0.0.1"

    @property
    def rest(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80

    @property
    def flags(self) -> dict[str, Any]:
        """Settings that lead there."""
        return {"weaviate_url": self.url, "weaviate.grpc_port": self.grpc_port}


class Killable(Protocol):
    """A Weaviate of a test's own, with ports and data that stay the same when it starts again."""

    @property
    def server(self) -> Server: ...

    def start(self) -> None: ...

    def wait(self) -> None:
        """Until it says that it is ready."""

    def kill(self) -> None:
        """As a power cut: no chance to flush."""

    def stop(self) -> None:
        """As a service manager does."""

    def remove(self) -> None:
        """Stop it for good."""


# Each test process takes ports of its own, below those that the system hands out.
_next_port = 20_000 + os.getpid() % 100 * 100


def free_ports(count: int) -> list[int]:
    """Ports in a row (Weaviate's data port has to follow its gossip port), never given twice."""
    global _next_port
    while _next_port < 32_000:
        ports = list(range(_next_port, _next_port + count))
        _next_port += count
        if all(map(_is_free, ports)):
            return ports
    raise RuntimeError(f"no {count} free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def environment(modules_at: str) -> dict[str, str]:
    """The environment of every test server; `modules_at` is the URL of our service."""
    return {
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
        "DISABLE_TELEMETRY": "true",
        "LOG_LEVEL": "warning",
        "ASYNC_INDEXING": "true",
        "ENABLE_MODULES": MODULES,
        "TRANSFORMERS_INFERENCE_API": modules_at,
        "RERANKER_INFERENCE_API": modules_at,
        "TRANSFORMERS_WAIT_FOR_STARTUP": "false",
        "RERANKER_WAIT_FOR_STARTUP": "false",
    }


@dataclass
class Binary:
    """A weaviate process; it can be killed and started again."""

    path: str
    folder: Path
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ports = free_ports(7)
        self.rest, self.grpc, self.gossip, self.data, self.raft, self.raft_rpc, self.service = ports
        self.name = f"node{self.rest}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> Server:
        return Server(f"http://127.0.0.1:{self.rest}", self.grpc, "binary", self.service)

    def start(self) -> None:
        own = {
            "PERSISTENCE_DATA_PATH": str(self.folder),
            "CLUSTER_HOSTNAME": self.name,
            "CLUSTER_IN_LOCALHOST": "true",
            "CLUSTER_BIND_ADDR": "127.0.0.1",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "GRPC_PORT": str(self.grpc),
            "CLUSTER_GOSSIP_BIND_PORT": str(self.gossip),
            "CLUSTER_DATA_BIND_PORT": str(self.data),
            "RAFT_PORT": str(self.raft),
            "RAFT_INTERNAL_RPC_PORT": str(self.raft_rpc),
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "RAFT_JOIN": f"{self.name}:{self.raft}",
            "GO_PROFILING_DISABLE": "true",
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.path, "--host", "127.0.0.1", "--port", str(self.rest), "--scheme", "http"],
                env={**os.environ, **environment(f"http://127.0.0.1:{self.service}")}
                | own
                | dict(self.extra),
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        wait_until_ready(self.server.url)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def remove(self) -> None:
        self.stop()

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Container:
    """A container of IMAGE; the data lie in it, and go with it."""

    def __init__(
        self, docker: Any, extra: Mapping[str, str] | None = None, network: str = ""
    ) -> None:
        self._docker = docker
        self._network = network
        self.name = f"weaviate-test-{uuid4().hex[:8]}"
        self.rest, self.grpc, self.service = free_ports(3)
        self.extra: Mapping[str, str] = extra or {}
        self._container: Any = None

    @property
    def server(self) -> Server:
        kind = f"container {IMAGE}"
        return Server(f"http://127.0.0.1:{self.rest}", self.grpc, kind, self.service, "0.0.0.0")

    def start(self) -> None:
        if self._container is not None:
            self._container.start()
            return
        own = {"CLUSTER_HOSTNAME": self.name, "PERSISTENCE_DATA_PATH": "/var/lib/weaviate"}
        shared = environment(f"http://host.docker.internal:{self.service}")
        self._container = self._docker.containers.run(
            IMAGE,
            detach=True,
            name=self.name,
            hostname=self.name,
            environment=shared | own | dict(self.extra),
            network=self._network or None,
            ports={"8080": ("127.0.0.1", self.rest), "50051": ("127.0.0.1", self.grpc)},
            extra_hosts={"host.docker.internal": "host-gateway"},
        )

    def wait(self) -> None:
        wait_until_ready(self.server.url)

    def kill(self) -> None:
        self._container.kill()
        self._container.wait()

    def stop(self) -> None:
        self._container.stop(timeout=30)

    def remove(self) -> None:
        if self._container is not None:
            self._container.remove(force=True, v=True)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with closing(urllib.request.urlopen(f"{url}/v1/.well-known/ready", timeout=2)):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the Weaviate at {url} was not ready within {READY_SECONDS} s")
