"""The compose files say what the code expects: versions, ports, modules, nodes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import config
from search.errors import ConfigError
from search.serve.__main__ import build_parser
from search.serve.keys import Access

ROOT = Path(__file__).parents[2]
FILES = ["docker-compose.yml", "docker-compose.gpu.yml", "docker-compose.cluster.yml"]


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return content


def merged(*names: str) -> dict[str, Any]:
    """As `docker compose -f A -f B` merges what these files use: mappings, key by key."""

    def merge(one: Any, other: Any) -> Any:
        if not (isinstance(one, dict) and isinstance(other, dict)):
            return other
        return one | {key: merge(one.get(key), value) for key, value in other.items()}

    whole: dict[str, Any] = {}
    for name in names:
        whole = merge(whole, read(name))
    return whole


def nodes(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {n: s for n, s in compose["services"].items() if n.startswith("weaviate")}


def published(service: dict[str, Any]) -> dict[str, str]:
    """Container port → port of this machine; all on loopback."""
    ports = {}
    for line in service.get("ports", []):
        host, outer, inner = line.split(":")
        assert host == "127.0.0.1", line
        ports[inner] = outer
    return ports


@pytest.mark.parametrize("name", FILES)
def test_every_node_is_the_pinned_version_that_the_tests_use(name: str) -> None:
    version = config.load().weaviate.embedded_version
    source = (ROOT / "tests/integration/weaviate_server.py").read_text(encoding="utf-8")
    assert f'"semitechnologies/weaviate:{version}"' in source
    for service in nodes(read(name)).values():
        assert service.get("image", f"semitechnologies/weaviate:{version}").endswith(f":{version}")


def test_images_are_pinned() -> None:
    for service in merged(*FILES)["services"].values():
        assert "build" in service or service["image"].partition(":")[2] not in ("", "latest")


def test_both_protocols_are_published_where_the_settings_look() -> None:
    ports = published(read("docker-compose.yml")["services"]["weaviate"])
    assert ports == {"8080": "8080", "50051": "50051"}


@pytest.mark.parametrize("names", [FILES[:1], [FILES[0], FILES[2]]], ids=["one", "three"])
def test_each_node_calls_our_service_where_it_listens(names: list[str]) -> None:
    compose = merged(*names)
    ours = compose["services"]["service"]
    args = build_parser().parse_args(ours["command"])
    assert args.host == args.weaviate[0] == "0.0.0.0"
    for service in nodes(compose).values():
        environment = service["environment"]
        for module in ("TRANSFORMERS", "RERANKER"):
            assert environment[f"{module}_INFERENCE_API"] == f"http://service:{args.weaviate[1]}"
        assert environment["ENABLE_MODULES"].split(",") == [
            "text2vec-transformers",
            "reranker-transformers",
        ]
        assert environment["DISABLE_TELEMETRY"] == "true"
        assert environment["ASYNC_INDEXING"] == "true"  # or a crash costs documents
        assert service["depends_on"]["service"]["condition"] == "service_healthy"
    assert str(args.weaviate[1]) in " ".join(ours["healthcheck"]["test"])


def test_only_the_port_that_asks_for_a_key_is_published() -> None:
    service = read("docker-compose.yml")["services"]["service"]
    args = build_parser().parse_args(service["command"])
    assert published(service) == {str(args.port): str(args.port)}
    # Without the variable, compose stops and says what to set.
    wanted = "${TWO_STAGE_KEY:?"
    assert wanted in service["environment"]["SEARCH_SERVE__KEYS"]
    address = ".".join(["0"] * 4)
    with pytest.raises(ConfigError, match="there are no keys"):
        Access.at(address, config.load({}, {}, []).serve)
    Access.at(address, config.load({}, environment(service), []).serve)


def test_nothing_waits_for_what_waits_for_it() -> None:
    """Weaviate waits for its models, so the service must not wait for Weaviate."""
    services = merged(*FILES)["services"]

    def waits_for(name: str, above: tuple[str, ...] = ()) -> None:
        assert name not in above, f"{' → '.join(above)} → {name}"
        for other in services[name].get("depends_on", {}):
            waits_for(other, (*above, name))

    for name in services:
        waits_for(name)
    assert set(services["service"]["depends_on"]) == {"redis"}


def test_everything_in_the_file_is_used() -> None:
    compose = merged(*FILES)
    service = compose["services"]["service"]
    settings = config.load({}, environment(service), [])
    named = f"{settings.weaviate_url} {service['environment']}"
    for name in compose["services"].keys() - {"service", "weaviate-2", "weaviate-3"}:
        assert f"//{name}:" in named, name
    mounted = {
        v.partition(":")[0] for s in compose["services"].values() for v in s.get("volumes", [])
    }
    assert mounted == compose["volumes"].keys()


def environment(service: dict[str, Any]) -> dict[str, str]:
    """What the container sees, with a key in the place that compose fills."""
    return {
        name: re.sub(r"\$\{TWO_STAGE_KEY:\?[^}]*\}", "k" * 48, str(value))
        for name, value in service["environment"].items()
    }


def test_the_image_runs_the_service_with_the_same_arguments() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert 'ENTRYPOINT ["python", "-m", "search.serve"]' in text
    for folder in ("config", "ingest", "search"):
        assert f"COPY {folder} {folder}" in text


@pytest.mark.parametrize("names", [FILES[:1], FILES[:2]], ids=["cpu", "gpu"])
def test_settings_in_the_environment_exist(names: list[str]) -> None:
    given = environment(merged(*names)["services"]["service"])
    loaded = config.load_all({}, given, [])
    found = {name for name, origin in loaded.origins.items() if origin == "environment"}
    assert len(found) == len(given) - 1  # all but HF_HOME, which is the hub's


def test_the_gpu_override_runs_torch_on_one() -> None:
    service = merged(*FILES[:2])["services"]["service"]
    settings = config.load({}, environment(service), [])
    assert (settings.device, settings.engine) == ("cuda", "torch")
    assert "gpu" in service["build"]["args"]["EXTRAS"].split(",")
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_three_nodes_know_each_other_and_share_nothing() -> None:
    compose = merged(FILES[0], FILES[2])
    found = nodes(compose)
    assert len(found) == 3
    names = {service["environment"]["CLUSTER_HOSTNAME"] for service in found.values()}
    assert len(names) == 3
    for name, service in found.items():
        environment = service["environment"]
        assert set(environment["RAFT_JOIN"].split(",")) == names
        assert environment["RAFT_BOOTSTRAP_EXPECT"] == "3"
        gossip, data = (environment[f"CLUSTER_{p}_BIND_PORT"] for p in ("GOSSIP", "DATA"))
        assert int(data) == int(gossip) + 1
        assert ("CLUSTER_JOIN" in environment) == (name != "weaviate")
        assert environment.get("CLUSTER_JOIN", f"weaviate:{gossip}") == f"weaviate:{gossip}"
    outer = [port for service in found.values() for port in published(service).values()]
    volumes = [volume for service in found.values() for volume in service["volumes"]]
    assert len(set(outer)) == 6
    assert len(set(volumes)) == 3
    assert {volume.split(":")[0] for volume in volumes} <= compose["volumes"].keys()


def test_the_image_gets_every_package_and_every_file_it_is_built_from() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "packages"
    ]
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    assert {name.partition(".")[0] for name in packages} <= copied
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for name in copied} <= set(allowed)
    assert all((ROOT / name).exists() for name in copied)
