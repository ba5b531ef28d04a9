from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_folders import write_model

from search.errors import CheckpointError, InputError, ModelError
from search.models.__main__ import main
from search.models.registry import Registry, Trial
from search.models.version import Check, Version, check_unchanged
from search.rerank.checkpoint import find_blend, locate, open_checkpoint

BLEND = {"log_odds": [{"constant": -1.0, "logit": 0.5}]}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_model(tmp_path / "source")


def add(registry: Registry, name: str, source: Path | str, copy: bool | None = None) -> Version:
    with registry.draft(name, str(source), copy) as draft:
        return draft.add([Check("files", True, "fine")], None)


def test_a_version_is_found_wherever_a_model_is_named(registry: Registry, source: Path) -> None:
    version = add(registry, "clinic", source)
    checkpoint = open_checkpoint("clinic", registry.root)
    assert checkpoint.name == "clinic"
    assert checkpoint.folder == version.folder == registry.root / "clinic" / "files"
    assert registry.names() == ["clinic"]
    assert version.checks == (Check("files", True, "fine"),)
    assert version.source == str(source)


def test_a_model_of_the_hub_is_pinned_by_its_commit(
    registry: Registry, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's cache has links to files that are named by their hash."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--org--name" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for path in source.iterdir():
        (snapshot / path.name).symlink_to(path)
    monkeypatch.setattr("search.models.registry.find_folder", lambda name: snapshot)
    version = add(registry, "small", "org/name")
    assert (version.source, version.revision, version.folder) == ("org/name", commit, snapshot)
    assert not version.is_copy
    copied = add(registry, "copied", "org/name", copy=True)
    assert (copied.is_copy, copied.revision) == (True, commit)
    assert copied.digest == version.digest
    (source / "config.json").write_text("{}")
    check_unchanged(copied)
    with pytest.raises(ModelError, match=r"config\.json .*changed"):
        check_unchanged(version)


def test_a_copy_does_not_change_with_its_source(registry: Registry, source: Path) -> None:
    version = add(registry, "clinic", source)
    (source / "config.json").write_text("{}")
    check_unchanged(version)
    assert open_checkpoint("clinic", registry.root).positions == 64


def test_a_reference_whose_files_changed_is_refused_by_name(
    registry: Registry, source: Path
) -> None:
    version = add(registry, "clinic", source, copy=False)
    assert version.folder == source
    assert not (version.home / "files").exists()
    (source / "config.json").write_text((source / "config.json").read_text() + "\n")
    with pytest.raises(CheckpointError, match=r"'clinic': config\.json in .* changed since"):
        open_checkpoint("clinic", registry.root)
    (source / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        locate("clinic", registry.root)
    with pytest.raises(ModelError):
        registry.use("clinic")
    assert registry.current == "bundled"


def test_a_copy_that_was_tampered_with_is_refused(registry: Registry, source: Path) -> None:
    version = add(registry, "clinic", source)
    weights = version.folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(ModelError, match=r"model\.safetensors in .* changed"):
        locate("clinic", registry.root)


def test_the_blend_belongs_to_the_version(registry: Registry, source: Path) -> None:
    (source / "rerank.json").write_text(json.dumps(BLEND))
    version = add(registry, "clinic", source, copy=False)
    (source / "rerank.json").unlink()
    check_unchanged(version)
    assert find_blend("clinic", registry.root).formulas[0].constant == -1.0
    assert open_checkpoint("clinic", registry.root).blend.is_fitted


def test_current_is_what_was_used_last_and_rollback_goes_back(
    registry: Registry, source: Path
) -> None:
    add(registry, "one", source)
    add(registry, "two", source)
    assert registry.current == "bundled"
    assert locate("current", registry.root).name == "bundled"
    for name in ("one", "two", "two"):
        registry.use(name)
    assert locate("current", registry.root).name == "two"
    assert registry.rollback() == "one"
    assert registry.rollback() == "bundled"
    with pytest.raises(InputError, match="bundled is in use, and there is none before it"):
        registry.rollback()
    registry.use("one")
    registry.use("bundled")
    assert locate("current", registry.root).name == "bundled"
    assert registry.rollback() == "one"


def test_what_is_in_use_is_not_removed(registry: Registry, source: Path) -> None:
    add(registry, "one", source)
    add(registry, "two", source)
    registry.use("one")
    registry.use("two")
    with pytest.raises(InputError, match="'two' is in use"):
        registry.remove("two")
    registry.remove("one")
    assert registry.names() == ["two"]
    assert registry.rollback() == "bundled", "a version that is gone is nothing to go back to"


@pytest.mark.parametrize(
    "name", ["bundled", "current", "lock", "state.json", "", "a/b", "../x", ".x", "A", "x" * 65]
)
def test_names_that_mean_something_else_are_refused(
    registry: Registry, source: Path, name: str
) -> None:
    with (
        pytest.raises(InputError, match="cannot be a version's name"),
        registry.draft(name, str(source)),
    ):
        pass


def test_a_version_is_not_replaced(registry: Registry, source: Path) -> None:
    add(registry, "one", source)
    with pytest.raises(InputError, match="does not change"):
        add(registry, "one", source)


def test_of_two_that_add_one_name_one_wins(registry: Registry, source: Path) -> None:
    with registry.draft("one", str(source)) as first, registry.draft("one", str(source)) as second:
        added = first.add([], None)
        with pytest.raises(InputError, match="already"):
            second.add([Check("files", True, "second")], None)
    assert registry.get("one").checks == added.checks == ()
    assert sorted(p.name for p in registry.root.iterdir()) == ["lock", "one"]


def test_what_was_not_added_leaves_nothing(registry: Registry, source: Path) -> None:
    with registry.draft("one", str(source)) as draft:
        assert (draft.version.folder / "config.json").is_file()
    assert registry.names() == []
    assert [path.name for path in registry.root.iterdir()] == ["lock"]


def test_an_unknown_version_is_an_error_that_lists_what_there_is(
    registry: Registry, source: Path
) -> None:
    add(registry, "one", source)
    with pytest.raises(InputError, match=r"no version 'two' in .*; found: one\."):
        registry.get("two")
    with pytest.raises(InputError):
        registry.use("two")
    with pytest.raises(InputError, match=r"bundled is the model that comes .*, and no version"):
        registry.get("bundled")


def test_a_check_that_failed_names_the_folder_that_was_given(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["add", "x", str(empty), "--set", f"models={registry.root}"]) == 1
    assert f"{empty}: found no config.json" in capsys.readouterr().out


def test_reading_makes_nothing(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "absent")
    assert (registry.names(), registry.current, registry.find("one")) == ([], "bundled", None)
    assert locate("bundled", registry.root).name == "bundled"
    assert not registry.root.exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"used": 3}', '{"name": "one"}'])
def test_a_broken_file_of_the_registry_is_named(registry: Registry, content: str) -> None:
    home = registry.root / "one"
    home.mkdir(parents=True)
    (home / "manifest.json").write_text(content)
    (registry.root / "state.json").write_text(content)
    with pytest.raises(ModelError, match=r"one/manifest\.json: cannot be read"):
        registry.find("one")
    with pytest.raises(ModelError, match=r"state\.json: cannot be read"):
        _ = registry.current


KILLED_WHILE_ADDING = """
import sys, time
from search.models.registry import Registry
with Registry({root!r}).draft("one", {source!r}) as draft:
    print("ready", flush=True)
    time.sleep(60)
"""
KILLED_WHILE_USING = """
import itertools
from search.models.registry import Registry
registry = Registry({root!r})
print("ready", flush=True)
for name in itertools.cycle(["one", "bundled"]):
    registry.use(name)
"""


def killed(code: str, root: Path, source: Path, after: float) -> None:
    """Run it until it is ready, `after` seconds more, and kill it with no chance to tidy up."""
    code = "from pathlib import Path, PosixPath\n" + code.format(root=root, source=str(source))
    here = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], cwd=here, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(after)
        os.kill(child.pid, signal.SIGKILL)


def test_a_kill_while_adding_leaves_the_registry_as_it_was(
    registry: Registry, source: Path
) -> None:
    add(registry, "two", source)
    killed(KILLED_WHILE_ADDING, registry.root, source, 0)
    assert registry.names() == ["two"]
    assert list(registry.root.glob(".draft-*")), "killed with its draft half made"
    add(registry, "one", source)
    assert registry.names() == ["one", "two"]
    assert not list(registry.root.glob(".draft-*")), "the next writer tidies up"


@pytest.mark.parametrize("after", [0.01, 0.03, 0.05])
def test_a_kill_while_switching_leaves_one_version_in_use(
    registry: Registry, source: Path, after: float
) -> None:
    add(registry, "one", source)
    killed(KILLED_WHILE_USING, registry.root, source, after)
    assert registry.current in ("one", "bundled")
    registry.use("one")
    assert locate("current", registry.root).name == "one"


def test_history_has_no_version_twice_in_a_row(registry: Registry, source: Path) -> None:
    for name in ("one", "two"):
        add(registry, name, source)
    for name in ("one", "two", "one", "bundled"):
        registry.use(name)
    registry.remove("two")
    assert registry.history == ["one", "bundled"]
    assert registry.rollback() == "one"
    assert registry.rollback() == "bundled"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, source: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"cannot be written: .*; set `models` to another"):
        add(Registry(tmp_path / "file" / "models"), "one", source)


def test_what_is_on_trial_is_not_removed(registry: Registry, source: Path) -> None:
    add(registry, "one", source)
    for trial in (Trial(shadow="one"), Trial(canary="one")):
        registry.set_trial(trial)
        assert registry.trial == trial
        with pytest.raises(InputError, match="in use"):
            registry.remove("one")
    registry.use("one")
    assert registry.trial.canary == "one", "using a version does not end a trial"
    with pytest.raises(InputError, match="no version 'two'"):
        registry.set_trial(Trial(shadow="two"))
