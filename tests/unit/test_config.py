from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import config
from search.errors import ConfigError


def test_defaults_are_complete_and_each_is_explained() -> None:
    settings = config.load()
    text = (Path(config.__file__).parent / "default.yaml").read_text(encoding="utf-8")
    assert settings.candidates == 20
    assert set(yaml.safe_load(text)) == set(config.Settings.model_fields)
    for line in text.splitlines():
        assert not line or line.startswith(("#", " ")) or "#" in line or line.endswith(":"), line


def test_the_last_layer_wins(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text("candidates: 10\nlimit: 3\nalpha: 0.2\nweaviate: {collection: Mine}\n")
    environment = {"SEARCH_CANDIDATES": "20", "SEARCH_LIMIT": "4", "WEAVIATE_API_KEY": "k"}
    settings = config.load({"candidates": 30, "device": None}, environment, [file])
    assert (settings.candidates, settings.limit, settings.alpha) == (30, 4, 0.2)
    assert settings.weaviate.collection == "Mine"
    assert settings.weaviate.api_key is not None
    assert settings.weaviate.api_key.get_secret_value() == "k"
    assert settings.device == "auto"


def test_null_unsets_in_environment_and_flags() -> None:
    assert config.load({"gate": "0.1"}).gate == 0.1
    assert config.load({"gate": "null"}, {"SEARCH_BLEND": "null"}).gate is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"candidates": "many"}, ["'candidates'", "(flags)", "'many'", "valid integer"]),
        ({"retrieval": "magic"}, ["'retrieval'", "'hybrid'", "'magic'"]),
        ({"alpha": 3}, ["'alpha'", "3", "less than or equal to 1"]),
        ({"candidate": 3}, ["'candidate'", "unknown", "candidates"]),
        ({"limit": "1", "limit.x": "2"}, ["'limit.x' (flags)", "unknown"]),
        ({"weaviate": "x", "weaviate.api_key": "y"}, ["'weaviate' (flags)", "section", "'x'"]),
        ({"weaviate.shards": "many"}, ["'weaviate.shards' (flags)", "'many'"]),
    ],
)
def test_an_error_names_key_value_and_expectation(
    flags: dict[str, object], said: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(flags)
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "\x00", "limit: 2020-99-99\n"])
def test_an_unusable_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"search\.yaml"):
        config.load(files=[file])


def test_set_flag() -> None:
    assert config.parse_set(["alpha=0.7", "weaviate.collection=A=B"]) == {
        "alpha": "0.7",
        "weaviate.collection": "A=B",
    }
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        config.parse_set(["alpha"])


def test_a_prefix_keeps_its_blanks_and_no_other_setting_does() -> None:
    typed = ["query_prefix=query: ", "passage_prefix= ", "limit = 3", "rerank = off", "gate= null "]
    settings = config.load(config.parse_set(typed))
    environment = {"SEARCH_QUERY_PREFIX": "query: ", "SEARCH_PASSAGE_PREFIX": " "}
    assert settings.query_prefix == config.load(environment=environment).query_prefix == "query: "
    assert settings.passage_prefix == config.load(environment=environment).passage_prefix == " "
    assert (settings.limit, settings.rerank, settings.gate) == (3, False, None)


def test_the_error_of_a_nested_setting_names_the_layer_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text("weaviate: {shards: many}\n")
    with pytest.raises(ConfigError, match=r"'weaviate.shards' \(.*search\.yaml\)"):
        config.load({"weaviate.collection": "Mine"}, files=[file])


@pytest.mark.parametrize(
    "content", ["limit: 2020-01-01\n", "1: 2\n", "weaviate: 3\n", "weaviate: {1: 2}\n"]
)
def test_settings_of_the_wrong_shape_are_explained(tmp_path: Path, content: str) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"search\.yaml"):
        config.load(files=[file])


def test_variables_of_other_programs_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Kubernetes gives every pod these when a service is called search."""
    foreign = {
        "SEARCH_SERVICE_HOST": "10.0.0.1",
        "SEARCH_SERVICE_PORT": "80",
        "SEARCH_PORT": "tcp://10.0.0.1:80",
        "SEARCH_PORT_80_TCP_ADDR": "10.0.0.1",
        "SEARCH_WEAVIATE": "x",
    }
    assert config.load(environment=foreign) == config.load()
    assert caplog.messages == []


def test_a_misspelt_variable_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    config.load(environment={"SEARCH_CANDIDATE": "3"})
    assert caplog.messages == [
        "SEARCH_CANDIDATE names no setting and is ignored; is SEARCH_CANDIDATES meant?"
    ]


def test_a_secret_is_never_shown() -> None:
    settings = config.load(
        {"weaviate.headers": "{X-Key: hidden-header}"}, {"WEAVIATE_API_KEY": "hidden-key"}
    )
    assert "hidden" not in f"{settings} {settings!r}"
    assert settings.weaviate.headers == {"X-Key": "hidden-header"}
    with pytest.raises(ConfigError) as caught:
        config.load({"weaviate.headers": "hidden"})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("name", ["headers", "index_settings"])
def test_a_mapping_that_is_no_yaml_is_explained_and_not_shown(name: str) -> None:
    with pytest.raises(ConfigError, match="is not YAML") as caught:
        config.load({f"weaviate.{name}": "{a"})
    assert f"'weaviate.{name}' (flags)" in str(caught.value)


def test_an_empty_key_is_no_key() -> None:
    loaded = config.load_all({"weaviate.api_key": ""}, {"WEAVIATE_API_KEY": "secret"})
    assert loaded.settings.weaviate.api_key is None
    assert config.plain(loaded, "weaviate.api_key") is None


def test_a_home_folder_is_resolved_where_no_shell_has_done_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = config.load({"store": "~/x.db", "model": "~/m", "weaviate.embedded_data": "~/w"})
    assert settings.store == tmp_path / "x.db"
    assert settings.model == str(tmp_path / "m")
    assert settings.weaviate.embedded_data == tmp_path / "w"


def test_where_each_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text("limit: 3\nweaviate: {shards: 2}\n")
    loaded = config.load_all({"candidates": 30}, {"SEARCH_ALPHA": "0.2"}, [file])
    assert loaded.origins["limit"] == loaded.origins["weaviate.shards"] == str(file)
    assert loaded.origins["candidates"] == "flags"
    assert loaded.origins["alpha"] == "environment"
    assert loaded.origins["weaviate.tenant"] == "default"
    assert (loaded.values["candidates"], loaded.values["weaviate.shards"]) == (30, 2)


def test_the_tests_do_not_read_the_search_yaml_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "search.yaml").write_text("limit: 77\n")
    monkeypatch.chdir(tmp_path)
    assert config.load().limit == 10


KEYS = "{team: write secret-secret-secret, page: read another-secret-one}"


def test_keys_are_read_and_never_shown() -> None:
    loaded = config.load_all({}, {"SEARCH_SERVE__KEYS": KEYS})
    keys = loaded.settings.serve.keys
    assert {name: key.may for name, key in keys.items()} == {"team": "write", "page": "read"}
    assert keys["page"].secret.get_secret_value() == "another-secret-one"
    assert "secret-" not in f"{loaded.settings} {loaded.settings!r} {keys}"
    assert config.plain(loaded, "serve.keys") == "hidden"


@pytest.mark.parametrize(
    "keys",
    [
        "{team: secret-secret-secret}",
        "{team: write secret}",
        "{team: write secret secret secret}",
        "{team: admin secret-secret-secret}",
        "{a: read secret-secret-secret, b: write secret-secret-secret}",
        "[secret-secret-secret]",
        "{secret-secret-secret",
    ],
)
def test_keys_that_cannot_be_used_are_refused_unshown(keys: str) -> None:
    with pytest.raises(ConfigError, match=r"'serve.keys' \(flags\)") as caught:
        config.load({"serve.keys": keys})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "given", ["abstract,body", "abstract, body", "[abstract, body]", ["abstract", "body"]]
)
def test_names_in_a_row_may_be_text_as_flags_and_variables_give_it(given: object) -> None:
    settings = config.load({"weaviate.text_properties": given}, {}, [])
    assert settings.weaviate.text_properties == ("abstract", "body")
    assert config.load({"weaviate.text_properties": "null"}, {}, []).weaviate.text_properties == ()
