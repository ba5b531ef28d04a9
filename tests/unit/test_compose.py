"""The compose files say what the code expects: versions, ports, modules, nodes."""

from __future__ import annotations

import re
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
    source = (ROOT / "tests/integration/weaviate_nodes.py").read_text(encoding="utf-8")
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
    Access.at(address, config.load({}, environment_of(service), []).serve)


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
    service = read("docker-compose.yml")["services"]["service"]
    settings = config.load({}, environment_of(service), [])
    named = f"{settings.weaviate_url} {service['environment']}"
    for name in compose["services"].keys() - {"service", "weaviate-2", "weaviate-3"}:
        assert f"//{name}:" in named, name
    mounted = {
        volume.partition(":")[0]
        for file in FILES
        for service in read(file)["services"].values()
        for volume in service.get("volumes", [])
    }
    assert mounted == compose["volumes"].keys()


def environment_of(service: dict[str, Any]) -> dict[str, str]:
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


def test_the_service_is_no_root_and_owns_what_it_writes() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]
    assert any(
        line.endswith("install --directory --owner search .search /models") for line in lines
    )
    service = read("docker-compose.yml")["services"]["service"]
    assert service["volumes"] == ["models:/models"]
    for name in ("HF_HOME", "SEARCH_MODELS"):
        assert f"{service['environment'][name]}/".startswith("/models/"), name


def test_new_sources_do_not_fetch_the_libraries_again() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert text.index("--requirement /tmp/libraries.txt") < text.index("COPY search search")
    # What the Dockerfile reads of pyproject.toml are plain names: an extra of ours would be looked
    # for in the package index.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name for line in re.findall(r"EXTRAS=(\S+)", text) for name in line.split(",")}
    libraries = [one for name in extras for one in project["optional-dependencies"][name]]
    assert not [one for one in libraries if one.startswith(project["name"])]


def test_everything_comes_back_when_the_machine_does() -> None:
    for name, service in merged(*FILES)["services"].items():
        assert service["restart"] == "unless-stopped", name


def test_what_hangs_is_unhealthy_within_a_minute() -> None:
    for name, service in merged(*FILES)["services"].items():
        check = service["healthcheck"]
        interval, timeout = (int(check[part].removesuffix("s")) for part in ("interval", "timeout"))
        assert check["retries"] * (interval + timeout) <= 60, name


def test_redis_answers_other_containers_and_leaves_nothing_behind() -> None:
    """Protected mode would refuse the others; the image's own volume is for what is not saved."""
    redis = read("docker-compose.yml")["services"]["redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert (options["--protected-mode"], options["--save"]) == ("no", "")
    assert redis["tmpfs"] == ["/data"]


def test_the_key_is_kept_for_the_next_command_and_out_of_git() -> None:
    """Without it every command of compose fails, `down` too; another one would lock the page."""
    keys = read("docker-compose.yml")["services"]["service"]["environment"]["SEARCH_SERVE__KEYS"]
    command = 'echo "TWO_STAGE_KEY=$(openssl rand -hex 24)" > .env'
    assert f"{command}}}" in keys.replace("$$", "$")
    for page in ("README.md", "docs/api.md", "docker-compose.yml"):
        assert command in (ROOT / page).read_text(encoding="utf-8"), page
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("names", [FILES[:1], FILES[:2], FILES[::2]], ids=["cpu", "gpu", "cluster"])
def test_settings_in_the_environment_exist(names: list[str]) -> None:
    given = environment_of(merged(*names)["services"]["service"])
    loaded = config.load_all({}, given, [])
    found = {name for name, origin in loaded.origins.items() if origin == "environment"}
    assert len(found) == len(given) - 1  # all but HF_HOME, which is the hub's


def test_the_gpu_override_runs_torch_on_one() -> None:
    service = merged(*FILES[:2])["services"]["service"]
    settings = config.load({}, environment_of(service), [])
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
    for service in found.values():
        environment = service["environment"]
        assert set(environment["RAFT_JOIN"].split(",")) == names
        assert environment["RAFT_BOOTSTRAP_EXPECT"] == "3"
        gossip, data = (environment[f"CLUSTER_{p}_BIND_PORT"] for p in ("GOSSIP", "DATA"))
        assert int(data) == int(gossip) + 1
        # Whichever of them is away, one that starts finds the other.
        assert set(environment["CLUSTER_JOIN"].split(",")) == {f"{n}:{gossip}" for n in found}
    settings = config.load({}, environment_of(compose["services"]["service"]), [])
    assert (settings.weaviate.replication_factor, settings.weaviate.consistency_level) == (
        3,
        "QUORUM",
    )
    assert urlsplit(str(settings.weaviate_url)).hostname == "nodes"
    # A network of their own: one that runs already would not be given these addresses.
    assert compose["services"]["service"]["networks"] == ["default", "cluster"]
    network = ip_network(compose["networks"]["cluster"]["ipam"]["config"][0]["subnet"])
    addresses = [ip_address(s["networks"]["cluster"]["ipv4_address"]) for s in found.values()]
    assert len(set(addresses)) == 3  # and the same after every start: Raft remembers them
    assert all(address in network for address in addresses)
    assert all(s["networks"]["cluster"]["aliases"] == ["nodes"] for s in found.values())
    outer = [port for service in found.values() for port in published(service).values()]
    volumes = [volume for service in found.values() for volume in service["volumes"]]
    assert len(set(outer)) == 6
    assert len(set(volumes)) == 3
    assert {volume.split(":")[0] for volume in volumes} <= compose["volumes"].keys()
    # One that has been of three has no majority alone: the single node's data are not touched.
    (alone,) = read("docker-compose.yml")["services"]["weaviate"]["volumes"]
    assert alone not in volumes
    assert {volume.partition(":")[2] for volume in volumes} == {alone.partition(":")[2]}


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
