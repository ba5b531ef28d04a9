from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import config
from search.errors import ConfigError


def test_defaults_are_complete_and_each_is_explained() -> None:
    settings = config.load()
    text = (Path(config.__file__).parent / "default.yaml").read_text(encoding="utf-8")
    assert settings.candidates == 50
    assert set(yaml.safe_load(text)) == set(config.Settings.model_fields)
    for line in text.splitlines():
        assert not line or line.startswith(("#", " ")) or "#" in line or line.endswith(":"), line


def test_the_last_layer_wins(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text("candidates: 10\nlimit: 3\nalpha: 0.2\nweaviate: {collection: Mine}\n")
    environment = {"SEARCH_CANDIDATES": "20", "SEARCH_LIMIT": "4", "WEAVIATE_API_KEY": "k"}
    settings = config.load({"candidates": 30, "device": None}, environment, [file])
    assert (settings.candidates, settings.limit, settings.alpha) == (30, 4, 0.2)
    assert (settings.weaviate.collection, settings.weaviate.api_key) == ("Mine", "k")
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
    ],
)
def test_an_error_names_key_value_and_expectation(
    flags: dict[str, object], said: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(flags)
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "\x00"])
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
