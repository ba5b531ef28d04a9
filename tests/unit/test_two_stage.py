"""`two-stage` on the PATH: its own commands over two documents, and the delegated ones."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ingest.chunk import Chunker
from ingest.clean import clean_text, clean_title
from ingest.record import Cleaned
from search.answer import document_text
from search.store import open as opening
from search.types import (
    Document,
    Kind,
    Listed,
    Location,
    Passage,
    Source,
    StoredDocument,
    StoreInfo,
)
from two_stage import documents
from two_stage.__main__ import DELEGATED, main

LONG = StoredDocument(
    "/notes/\x1b[31mheart.md",
    "Heart\tdisease",
    {"year": 2018, "tags": ("a", "b"), "title": "clash"},
    Source("/notes/\x1b[31mheart.md"),
    "hash",
    (
        Passage("Walk every day. Eat fruit.", Location(line=3, heading="Prevention")),
        Passage("Eat fruit.\nDo not\x9bsmoke.", Location(page=2)),
    ),
)
SHORT = StoredDocument("7", "", {}, Source("/dump.jsonl", 12), "hash", (Passage("A stroke."),))


class Shelf:
    """A store that can be read, and removed from."""

    def __init__(self) -> None:
        self.held = {document.id: document for document in (LONG, SHORT)}

    def documents(self) -> Iterator[Listed]:
        for d in self.held.values():
            yield Listed(d.id, d.title, d.source, len(d.passages))

    def get(self, document_id: str) -> StoredDocument | None:
        return self.held.get(document_id)

    def delete(self, document_ids: Iterable[str]) -> int:
        return sum(self.held.pop(name, None) is not None for name in list(document_ids))

    def fields(self) -> Mapping[str, frozenset[Kind]]:
        return {"year": frozenset({"number"}), "tags": frozenset({"text"})}

    def describe(self) -> StoreInfo:
        return StoreInfo("shelf", "memory", 2, 3, None, "1")

    def close(self) -> None:
        pass


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    monkeypatch.setattr(opening, "open_store", lambda settings, create=False: shelf)
    return shelf


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_list(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "list").splitlines() == [
        "/notes/\\x1b[31mheart.md\tHeart\\x09disease\t",
        "7\t\t/dump.jsonl:12",
    ]
    first, second = map(json.loads, output(capsys, "list", "--json").splitlines())
    assert first["id"] == LONG.id
    assert second == {
        "id": "7",
        "title": "",
        "source": {"file": "/dump.jsonl", "line": 12},
        "passages": 1,
    }


def test_show(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(capsys, "show", LONG.id)
    for words in ("year = 2018", "tags = a, b", "[1 of 2, line 3, under Prevention]", "page 2]"):
        assert words in shown
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert json.loads(output(capsys, "show", "7", "--json"))["passages"][0]["text"] == "A stroke."
    assert main(["show", "8"]) == 2
    assert "no document has the id '8'" in capsys.readouterr().err


def test_a_file_is_found_by_a_path_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shelf = Shelf()
    shelf.held[str(tmp_path / "a.md")] = SHORT
    assert documents.find(shelf, "a.md") is SHORT  # type: ignore[arg-type]
    (tmp_path / "b.md").touch()
    (tmp_path / "a.md").symlink_to("b.md")
    assert documents.find(shelf, "a.md") is SHORT  # type: ignore[arg-type]


def came_from(shelf: Shelf, file: Path, count: int) -> None:
    for line in range(1, count + 1):
        name = f"{file.stem} {line}"
        shelf.held[name] = replace(SHORT, id=name, source=Source(str(file), line))


def test_a_path_stands_for_all_documents_that_came_from_there(
    shelf: Shelf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for file, count in (("odd/lines.jsonl", 3), ("odd/more/one.csv", 1), ("oddity.csv", 2)):
        came_from(shelf, tmp_path / file, count)
    assert main(["show", "odd/lines.jsonl"]) == 2
    lines = tmp_path / "odd/lines.jsonl"
    said = capsys.readouterr().err
    assert f"3 documents came from {lines}" in said
    assert f"two-stage list | grep -F {lines}`" in said
    assert output(capsys, "delete", "./odd/lines.jsonl", "lines 1", "--yes") == "removed: 3\n"
    assert "one 1" in output(capsys, "show", "odd/more/one.csv")
    assert main(["delete", "odd", "--yes"]) == 2, "unasked, a bare word is an id"
    assert "write ./odd for a file or folder" in capsys.readouterr().err
    assert output(capsys, "delete", "./odd", "--yes") == "removed: 1\n"
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    shelf.held["link"] = replace(SHORT, id="link")
    assert output(capsys, "delete", "link", "--yes") == "removed: 1\n", "an id comes first"
    assert output(capsys, "delete", "./link", "--yes") == "removed: 2\n"
    came_from(shelf, Path("upload:dump.jsonl"), 2)
    assert output(capsys, "delete", "upload:dump.jsonl", "--yes") == "removed: 2\n"
    came_from(shelf, tmp_path / "left.csv", 1)
    for name in ("", "lef", "x" * 1000):
        assert main(["delete", name, "--yes"]) == 2
        assert "no document has the id" in capsys.readouterr().err
    assert list(shelf.held) == [LONG.id, SHORT.id, "left 1"]


def test_delete_says_how_many_documents_a_path_stands_for(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: "n")
    came_from(shelf, Path("/data/lines.jsonl"), 1234)
    assert main(["delete", "/data"]) == 1
    assert capsys.readouterr().out == "1,234 documents from /data\nnothing was removed\n"
    assert len(shelf.held) == 1236


def test_delete_asks_on_a_terminal(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for answer, left in (("n", 2), ("", 2), ("y", 1)):
        monkeypatch.setattr("builtins.input", lambda prompt, answer=answer: answer)
        assert main(["delete", "7", "7"]) == (0 if answer == "y" else 1)
        assert "/dump.jsonl:12" in capsys.readouterr().out
        assert len(shelf.held) == left


def test_delete_elsewhere_needs_yes(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["delete", "7"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["delete", "7", "8", "--yes"]) == 2  # all or none
    assert len(shelf.held) == 2
    assert output(capsys, "delete", "7", "--yes") == "removed: 1\n"
    assert list(shelf.held) == [LONG.id]


def test_stats(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    assert "field      year (number)" in output(capsys, "stats")
    found = json.loads(output(capsys, "stats", "--json"))
    assert (found["documents"], found["fields"]["tags"]) == (2, ["text"])


def test_export_can_be_ingested(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = map(json.loads, output(capsys, "export").splitlines())
    assert first == {
        "_id": LONG.id,
        "title": LONG.title,
        "text": "Walk every day. Eat fruit.\nDo not\x9bsmoke.",
        "year": 2018,
        "tags": ["a", "b"],
        "metadata.title": "clash",
    }
    assert second == {"_id": "7", "title": "", "text": "A stroke."}


class Words:
    """A tokenizer whose tokens are words."""

    max_passage_tokens = 9

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Of words, and of each Chinese sign."""
        return [m.span() for m in re.finditer(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+", text)]


def cut(text: str, overlap: int) -> StoredDocument:
    passages = Chunker(Words(), overlap, "en").passages(Cleaned(Document("x", "", text)))
    return StoredDocument("x", "", {}, None, "", passages)


TEXTS = {
    "sentences": " ".join(f"Sentence {n} has a few words more, as all have." for n in range(20)),
    "a log that repeats itself": "2024-01-01 INFO heartbeat ok\n" * 60,
    "code": 'def f(x):\n"""Doc."""\nreturn(x)\n' * 20,
    "Chinese": "心脏病的预防从年轻时开始。不吸烟,多运动,少吃盐。" * 40,
    "numbers": "0 " * 200,
    "paragraphs": "\n\n".join(f"This-is-paragraph-{n}." for n in range(60)),
}


@pytest.mark.parametrize("overlap", [0, 3])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_passages_are_joined_to_the_text_they_were_cut_from(text: str, overlap: int) -> None:
    document = cut(text, overlap)
    assert len(document.passages) > 5
    joined = document_text(document)
    assert "".join(joined.split()) == "".join(text.split())
    assert joined == text or " " in text, "without white space at a cut, nothing differs"


@given(st.text("ab. \n。", max_size=400), st.integers(0, 6))
def test_any_text_survives_being_cut(text: str, overlap: int) -> None:
    cleaned = clean_text(text, plain=True)
    joined = document_text(cut(cleaned, overlap))
    assert "".join(joined.split()) == "".join(cleaned.split())


def test_passages_stored_without_their_place_are_joined_where_they_overlap() -> None:
    document = cut(TEXTS["sentences"], 3)
    old = replace(document, passages=tuple(Passage(p.text) for p in document.passages))
    assert document_text(old).split() == TEXTS["sentences"].split()


@pytest.mark.parametrize(
    "text",
    [
        "Use the `<script>` tag and <p> </p> here.",
        "// use &lt; for less; <b>not markup</b>",
        "a < b and c > d & e",
        "<style>p { color: red }</style> shows how",
    ],
)
def test_what_is_exported_is_read_back_as_it_was(text: str) -> None:
    shelf = Shelf()
    shelf.held = {"x": StoredDocument("x", text, {}, None, "", (Passage(text),))}
    store: Any = shelf
    [record] = documents.exported(store)
    assert clean_text(record["text"]) == text
    assert clean_title(record["title"]) == text


def test_config_is_yaml_with_origins_and_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEAVIATE_API_KEY", "very-secret")
    arguments = ("config", "--set", "alpha=0.25")
    shown = output(capsys, *arguments)
    assert "very-secret" not in shown
    assert any(line.split() == ["alpha:", "0.25", "#", "flags"] for line in shown.splitlines())
    loaded: dict[str, Any] = yaml.safe_load(shown)
    assert loaded["weaviate"]["api_key"] == "hidden"
    assert loaded["limit"] == 10
    found = json.loads(output(capsys, *arguments, "--json"))
    assert found["weaviate.api_key"] == {"value": "hidden", "from": "environment"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_command_and_flag(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = output(capsys, "completion", shell)
    for word in (*DELEGATED, "list", "export", "--prune", "--compare", "--golden", "--port"):
        assert word.lstrip("-") in script


@pytest.mark.parametrize("command", DELEGATED)
def test_a_delegated_command_goes_by_its_short_name(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    help_text = output(capsys, command, "--help")
    assert f"usage: two-stage {command}" in help_text
    assert "python -m" not in help_text.partition("examples:")[2]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "--version") == f"two-stage {version('two-stage-search')}\n"


def test_help_is_instant() -> None:
    for arguments in (["--help"], ["list", "--help"], ["search", "--help"], ["ingest", "--help"]):
        command = [sys.executable, "-X", "importtime", "-m", "two_stage", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for slow in ("pydantic", "yaml", "numpy", "rich", "apsw", "shtab"):
            assert f" {slow}\n" not in done.stderr, f"{arguments} imports {slow}"
