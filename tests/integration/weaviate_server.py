"""Which Weaviate the tests have: one that runs already, a binary on hand, or a container."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from weaviate_nodes import IMAGE, Binary, Container, Killable, Server

HOW_TO = (
    "set WEAVIATE_URL (and SEARCH_WEAVIATE__GRPC_PORT) to one that runs, or WEAVIATE_BINARY to a "
    "weaviate binary (or put it on the PATH), or start Docker"
)
DOCKER_SOCKET = Path("/var/run/docker.sock")


class Missing(Exception):
    """There is no Weaviate of that kind here, and why."""


class Maker(Protocol):
    """Makes servers, not started, with these variables besides their own."""

    def __call__(self, extra: Mapping[str, str] | None = None) -> Killable: ...


@contextmanager
def killable(folder: Path) -> Iterator[Maker]:
    """Servers of a binary, or of containers; all are removed at the end. Raises Missing."""
    made: list[Killable] = []
    path = find_binary()
    docker = None if path else _docker()

    def make(extra: Mapping[str, str] | None = None) -> Killable:
        one: Killable = (
            Binary(path, folder / f"data{len(made)}", extra or {})
            if path
            else Container(docker, extra)
        )
        made.append(one)
        return one

    try:
        yield make
    finally:
        for one in made:
            with suppress(Exception):
                one.remove()
        if docker is not None:
            docker.close()


@contextmanager
def cluster(folder: Path, count: int) -> Iterator[Sequence[Killable]]:
    """Nodes of one cluster on this machine, started. Raises Missing."""
    path = find_binary()
    if path:
        nodes = _binary_nodes(path, folder, count)
        with _running(nodes):
            yield nodes
        return
    with closing(_docker()) as docker:
        network = docker.networks.create(f"weaviate-test-{uuid4().hex[:8]}")
        try:
            containers = _container_nodes(docker, network.name, count)
            with _running(containers):
                yield containers
        finally:
            network.remove()


@contextmanager
def _running(nodes: Sequence[Killable]) -> Iterator[None]:
    try:
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait()
        yield
    finally:
        for node in nodes:
            with suppress(Exception):
                node.remove()


def _binary_nodes(path: str, folder: Path, count: int) -> list[Binary]:
    nodes = [Binary(path, folder / f"node{i}") for i in range(count)]
    shared = {
        "RAFT_JOIN": ",".join(f"{node.name}:{node.raft}" for node in nodes),
        "RAFT_BOOTSTRAP_EXPECT": str(count),
    }
    for node in nodes:
        first = {"CLUSTER_JOIN": f"127.0.0.1:{nodes[0].gossip}"} if node is not nodes[0] else {}
        node.extra = shared | first
    return nodes


def _container_nodes(docker: Any, network: str, count: int) -> list[Container]:
    nodes = [Container(docker, network=network) for _ in range(count)]
    shared = {
        "RAFT_JOIN": ",".join(node.name for node in nodes),
        "RAFT_BOOTSTRAP_EXPECT": str(count),
        "CLUSTER_GOSSIP_BIND_PORT": "7100",
        "CLUSTER_DATA_BIND_PORT": "7101",
    }
    for node in nodes:
        first = {"CLUSTER_JOIN": f"{nodes[0].name}:7100"} if node is not nodes[0] else {}
        node.extra = shared | first
    return nodes


def find_binary() -> str | None:
    """WEAVIATE_BINARY, or, where no Docker runs, the one on the PATH."""
    if path := os.environ.get("WEAVIATE_BINARY"):
        return path
    return None if DOCKER_SOCKET.exists() else shutil.which("weaviate")


@contextmanager
def any_server(folder: Path) -> Iterator[Server]:
    """One for all tests that kill none. Raises Missing."""
    if url := os.environ.get("WEAVIATE_URL"):
        yield Server(url, int(os.environ.get("SEARCH_WEAVIATE__GRPC_PORT", "50051")), "running")
        return
    with killable(folder) as make:
        one = make()
        one.start()
        one.wait()
        yield one.server


def _docker() -> Any:
    """A client of Docker, which has the image. Raises Missing."""
    host = os.environ.get("DOCKER_HOST", f"unix://{DOCKER_SOCKET}")
    # Asked by hand, because the client leaves a socket open where nobody answers.
    if host.startswith("unix://"):
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            try:
                probe.connect(host.removeprefix("unix://"))
            except OSError as error:
                raise Missing(
                    f"no Weaviate to test against, and no Docker at {host} ({error}): {HOW_TO}"
                ) from None
    try:
        import docker
    except ModuleNotFoundError:
        raise Missing("Docker runs, but its Python client is missing: pip install docker") from None
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        raise Missing(f"Docker does not answer ({error}): {HOW_TO}") from error
    try:
        try:
            client.images.get(IMAGE)
        except docker.errors.ImageNotFound:
            client.images.pull(*IMAGE.split(":"))
    except docker.errors.DockerException as error:
        client.close()
        raise Missing(
            f"Docker runs, but {IMAGE} is not here and cannot be pulled ({error}): {HOW_TO}"
        ) from error
    return client
