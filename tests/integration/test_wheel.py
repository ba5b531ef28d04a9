"""The wheel, built, installed elsewhere and used from a folder with modules of common names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("config", "ingest", "search", "two_stage")
BUILD = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, without isolation and so without a network."""
    pytest.importorskip("setuptools", reason="building a wheel needs setuptools: pip install it")
    copy = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    (copy / "dist").mkdir()
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD], cwd=copy, check=True, capture_output=True
    )
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment of its own; what the project depends on is borrowed from this one."""
    environment = tmp_path_factory.mktemp("elsewhere") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index"]
    if subprocess.run([*pip[:3], "--version"], capture_output=True).returncode:
        uv = shutil.which("uv")
        if uv is None:
            pytest.skip("installing the wheel needs pip or uv: python -m ensurepip")
        pip = [uv, "pip", "install", "--offline", "--python", python]
    subprocess.run([*pip, "--no-deps", wheel], check=True, capture_output=True)
    (site,) = environment.glob("lib/python*/site-packages")
    # A path in a .pth file is searched, but its own .pth files, the editable install, are not read.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a user stands: with modules of their own, and a document."""
    for name in ("config", "search", "ingest", "yaml", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the user\\'s own module')\n")
    (tmp_path / "walk.md").write_text("# Walking\n\nA walk each day keeps the heart well.\n")
    return tmp_path


def run(folder: Path, *command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_all_that_is_read_at_run_time(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"{package}/py.typed" for package in PACKAGES} | {
        "config/default.yaml",
        "search/evaluate/golden.jsonl",
        "search/rerank/bundled/model.safetensors",
        *(f"search/serve/page/page.{kind}" for kind in ("css", "js")),
    }
    assert expected <= names
    assert not [name for name in names if name.startswith(("tests", "training", "data"))]


def test_documents_are_ingested_found_and_listed_from_anywhere(
    installed: Path, folder: Path
) -> None:
    command = installed / "two-stage"
    assert "stored 1 " in run(folder, command, "ingest", "walk.md", "--quiet")
    found = json.loads(run(folder, command, "search", "--json", "how to keep the heart well"))
    assert found["reranked"] is True
    assert found["hits"][0]["title"] == "Walking"
    assert "Walking" in run(folder, command, "list")
    assert "a walk each day" in run(folder, command, "show", found["hits"][0]["id"]).lower()
    (folder / "other").mkdir()
    elsewhere = run(folder / "other", command, "stats", "--json", "--store", "../.search/store.db")
    assert json.loads(elsewhere)["documents"] == 1
    exported = run(folder, command, "export")
    assert "removed: 1" in run(folder, command, "delete", "walk.md", "--yes")
    assert run(folder, command, "list") == ""
    (folder / "exported.jsonl").write_text(exported)
    assert "stored 1 " in run(folder, command, "ingest", "exported.jsonl", "--quiet")
    assert "Walking" in run(folder, command, "list")


def test_the_program_is_the_installed_one(installed: Path, folder: Path) -> None:
    code = "import config, search, two_stage; print(config.__file__, search.__file__)"
    for file in run(folder / "..", installed / "python", "-c", code).split():
        assert Path(file).is_relative_to(installed.parent)


def test_a_missing_extra_names_the_command_for_an_installed_package(
    installed: Path, folder: Path
) -> None:
    code = "from search.errors import MissingExtra; print(MissingExtra('pypdf', 'pdf', 'PDF'))"
    said = run(folder / "..", installed / "python", "-c", code)
    assert "pip install 'two-stage-search[pdf]'" in said
