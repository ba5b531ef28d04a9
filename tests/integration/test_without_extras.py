"""The main job where only the dependencies are installed: no extra's package can be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTRAS = (
    *("torch", "transformers", "sentence_transformers", "safetensors", "scipy", "ir_measures"),
    *("weaviate", "grpc", "matplotlib", "onnx", "pypdf", "docx", "starlette", "uvicorn"),
    *("langchain_core", "llama_index", "haystack", "mcp"),
)
BLOCKED = f"""
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name in {EXTRAS} else found(name, *more)
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`code` in a process of its own, after the blocking of the extras."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


INGEST = "from ingest.__main__ import main; sys.exit(main(sys.argv[1:]))"
SEARCH = "from search.__main__ import main; sys.exit(main(sys.argv[1:]))"
MCP = "from search.mcp.__main__ import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bare")
    records = [
        {"id": "walk", "title": "Walking", "text": "Regular exercise prevents heart disease."},
        {"id": "rest", "title": "Museum", "text": "The museum is closed on Mondays."},
    ]
    (folder / "notes.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    path = str(folder / "store.db")
    done = run(INGEST, "--store", path, str(folder / "notes.jsonl"))
    assert done.returncode == 0, done.stderr
    return path


def test_an_ingest_and_a_search_need_no_extra(store: str) -> None:
    done = run(SEARCH, "--store", store, "--json", "how to prevent heart disease")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["hits"][0]["id"] == "walk"
    assert answer["reranked"] is True
    assert answer["model"]["engine"] == "openvino"


def test_nothing_heavy_is_imported_where_it_is_installed(store: str) -> None:
    """Nor is openvino's model converter, which reports its import to its maker."""
    names = (*EXTRAS, "huggingface_hub", "openvino_telemetry", "openvino.tools.ovc")
    code = (
        "import sys\nfrom search.__main__ import main\n"
        f"main(['--store', {store!r}, '--json', 'heart'])\n"
        f"print(sorted(name for name in {names} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("code", "arguments", "extra"),
    [
        (SEARCH, ["--set", "weaviate_url=http://127.0.0.1:1", "heart"], "weaviate"),
        (SEARCH, ["--set", "engine=torch", "--store", "STORE", "heart"], "gpu"),
        ("from search.serve.__main__ import main; sys.exit(main(sys.argv[1:]))", [], "serve"),
        (MCP, ["--store", "STORE"], "mcp"),
        (MCP, ["--store", "STORE", "--http"], "mcp"),
        (
            "from search.evaluate.__main__ import main; sys.exit(main(sys.argv[1:]))",
            ["data/medical"],
            "evaluate",
        ),
        (
            "from training.__main__ import main; sys.exit(main(sys.argv[1:]))",
            ["--data", "data/medical", "--out", "OUT"],
            "train",
        ),
    ],
)
def test_a_missing_extra_is_an_error_that_names_the_command(
    store: str, tmp_path: Path, code: str, arguments: list[str], extra: str
) -> None:
    given = [{"STORE": store, "OUT": str(tmp_path / "out")}.get(a, a) for a in arguments]
    done = run(code, *given)
    assert done.returncode in (1, 3), done.stderr
    assert f"pip install -e '.[{extra}]'" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("framework", ["langchain", "llamaindex", "haystack"])
def test_an_integration_without_its_framework_names_the_command(framework: str) -> None:
    done = run(f"import search.integrations.{framework}")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("search.errors.MissingExtra")
    assert f"pip install -e '.[{framework}]'" in last
