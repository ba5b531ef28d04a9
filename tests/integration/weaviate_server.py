"""A real Weaviate for the tests: one that runs already, a container, or a binary on hand."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

IMAGE = "semitechnologies/weaviate:1.39.0"
MODULES = "text2vec-transformers,reranker-transformers"
HOW_TO = (
    "no Weaviate to test against: set WEAVIATE_URL (and SEARCH_WEAVIATE__GRPC_PORT) to one that "
    "runs, or start Docker and install testcontainers, or set WEAVIATE_BINARY to a weaviate "
    "binary (or put it on the PATH)"
)
READY_SECONDS = 60
DOCKER_SOCKET = Path("/var/run/docker.sock")


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


# A place of its own for each test process, and below the ports that the system hands out.
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
    """What every test server is told; `modules_at` is the URL of our service."""
    return {
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
        "DISABLE_TELEMETRY": "true",
        "LOG_LEVEL": "warning",
        "ENABLE_MODULES": MODULES,
        "TRANSFORMERS_INFERENCE_API": modules_at,
        "RERANKER_INFERENCE_API": modules_at,
        "TRANSFORMERS_WAIT_FOR_STARTUP": "false",
        "RERANKER_WAIT_FOR_STARTUP": "false",
    }


@dataclass
class Binary:
    """A weaviate process with ports and a folder of its own; it can be killed and started again."""

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
        """As a power cut: no chance to flush."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def cluster(path: str, folder: Path, count: int) -> list[Binary]:
    """Nodes of one cluster on this machine, not started."""
    nodes = [Binary(path, folder / f"node{i}") for i in range(count)]
    shared = {
        "RAFT_JOIN": ",".join(f"{node.name}:{node.raft}" for node in nodes),
        "RAFT_BOOTSTRAP_EXPECT": str(count),
    }
    for node in nodes:
        first = {"CLUSTER_JOIN": f"127.0.0.1:{nodes[0].gossip}"} if node is not nodes[0] else {}
        node.extra = shared | first
    return nodes


def find_binary() -> str | None:
    return os.environ.get("WEAVIATE_BINARY") or shutil.which("weaviate")


@contextmanager
def any_server(folder: Path) -> Iterator[Server | None]:
    """In the order of HOW_TO; None when there is none."""
    if url := os.environ.get("WEAVIATE_URL"):
        yield Server(url, int(os.environ.get("SEARCH_WEAVIATE__GRPC_PORT", "50051")), "running")
        return
    with _container() as server:
        if server is not None:
            yield server
            return
    if path := find_binary():
        binary = Binary(path, folder / "data")
        binary.start()
        try:
            binary.wait()
            yield binary.server
        finally:
            binary.stop()
        return
    yield None


@contextmanager
def _container() -> Iterator[Server | None]:
    """Through testcontainers, where it is installed and Docker runs and has or gets the image."""
    if not (os.environ.get("DOCKER_HOST") or DOCKER_SOCKET.exists()):
        yield None
        return
    try:
        import docker
        from testcontainers.core.container import DockerContainer
    except ModuleNotFoundError:
        yield None
        return
    (service,) = free_ports(1)
    try:
        with closing(docker.from_env()) as client:
            client.ping()
        container = DockerContainer(IMAGE).with_exposed_ports(8080, 50051)
        for name, value in environment(f"http://host.docker.internal:{service}").items():
            container.with_env(name, value)
        container.with_env("CLUSTER_HOSTNAME", "node1")
        container.with_kwargs(extra_hosts={"host.docker.internal": "host-gateway"})
        container.start()
    except docker.errors.DockerException:
        yield None
        return
    try:
        rest, grpc = (int(container.get_exposed_port(port)) for port in (8080, 50051))
        url = f"http://{container.get_container_host_ip()}:{rest}"
        wait_until_ready(url)
        yield Server(url, grpc, f"container {IMAGE}", service, "0.0.0.0")
    finally:
        container.stop()


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with closing(urllib.request.urlopen(f"{url}/v1/.well-known/ready", timeout=2)):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the Weaviate at {url} was not ready within {READY_SECONDS} s")
