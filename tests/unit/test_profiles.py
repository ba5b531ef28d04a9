from __future__ import annotations

from typing import Any

import pytest
import yaml

import config
from config.settings import DEFAULTS, PROFILES
from search.errors import ConfigError
from search.models.known import known

NAMES = ["english", "multilingual", "weaviate"]


def profiles() -> dict[str, dict[str, Any]]:
    content = yaml.safe_load(PROFILES.read_text("utf-8"))
    assert isinstance(content, dict)
    return content


def test_there_is_one_for_each_value_of_the_setting() -> None:
    assert list(profiles()) == NAMES
    for name in NAMES:
        assert config.load({"profile": name}, {}, []).profile == name


def test_the_default_profile_names_what_the_defaults_are() -> None:
    defaults = yaml.safe_load(DEFAULTS.read_text("utf-8"))
    for name, value in profiles()["english"].items():
        assert defaults[name] == value, name


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_sets_what_it_names_and_nothing_else(name: str) -> None:
    loaded = config.load_all({"profile": name}, {}, [])
    plain = config.load_all({}, {}, [])
    for setting, value in loaded.values.items():
        chosen = profiles()[name].get(setting, plain.values[setting])
        assert value == (name if setting == "profile" else chosen), setting


def test_what_is_set_elsewhere_wins_wherever_the_profile_is_set() -> None:
    flags = {"profile": "multilingual", "embedding_max_tokens": 300}
    loaded = config.load_all(flags, {"SEARCH_MODEL": "bundled"}, [])
    assert loaded.settings.model == "bundled"
    assert loaded.settings.embedding_max_tokens == 300
    assert loaded.settings.embedding_model == "BAAI/bge-m3"
    assert loaded.origins["model"] == "environment"
    assert loaded.origins["embedding_model"] == "profile multilingual"


def test_an_unknown_profile_is_a_setting_of_a_wrong_value() -> None:
    with pytest.raises(ConfigError, match=r"'profile' \(environment\) has value 'german'"):
        config.load({}, {"SEARCH_PROFILE": "german"}, [])


def test_the_size_of_each_model_of_a_profile_is_known() -> None:
    for name in ("embedding_model", "model"):
        found = known(profiles()["multilingual"][name])
        assert found is not None
        assert found.bytes > 10**9
