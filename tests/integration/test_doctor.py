"""What the doctor says of this machine, of real stores, and of set-ups that cannot work."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from weaviate_nodes import Server

import config
from search.doctor import Examination
from search.doctor.__main__ import main
from search.store.open import open_store
from search.types import Document, Entry, Passage

DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = huggingface_hub.snapshot_download

    def local(name: str, **options: Any) -> str:
        assert options["local_files_only"], f"{name} would be downloaded"
        return real(name, cache_dir=tmp_path / "empty", **options)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", local)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SEARCH_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("SEARCH_STORE", str(tmp_path / "store.db"))


def examined(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, dict[str, str]]]:
    status = main([*arguments, "--json"])
    content = json.loads(capsys.readouterr().out)
    assert content["well"] == (status == 0)
    return status, {finding["about"]: finding for finding in content["findings"]}


def filled(tmp_path: Path) -> None:
    settings = config.load({"store": tmp_path / "store.db"}, {}, [])
    with closing(open_store(settings, create=True)) as store:
        store.put([Entry(Document("a", "", "A text."), (Passage("A text."),), "1")])


def test_a_bare_machine_is_well_and_lacks_a_store(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = examined(capsys)
    assert status == 0
    assert found["store"]["status"] == "missing"
    assert "two-stage ingest" in found["store"]["detail"]
    assert "bundled: 45 MB, calibrated" in found["reranker"]["detail"]
    assert "384 dimensions" in found["embedding model"]["detail"]


def test_a_store_is_opened_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path)
    status, found = examined(capsys)
    assert status == 0
    assert "1 documents, filled by all-MiniLM-L6-v2" in found["store"]["detail"]
    assert main([]) == 0
    assert capsys.readouterr().out.endswith("all well\n")


def test_the_multilingual_models_are_named_with_their_sizes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, found = examined(capsys, "--profile", "multilingual")
    assert status == 1
    assert found["reranker"]["status"] == "missing"
    assert "BAAI/bge-reranker-v2-m3: about 2.3 GB are downloaded" in found["reranker"]["detail"]
    assert "torch pickle of about 2.3 GB" in found["embedding model"]["detail"]
    assert "two-stage models convert BAAI/bge-m3" in found["embedding model"]["fix"]
    assert "free" in found["downloads"]["detail"]


def test_a_broken_set_up_is_told_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store.db").write_text("no store")
    empty = tmp_path / "model"
    empty.mkdir()
    status, found = examined(capsys, "--set", f"model={empty}", "--set", "device=cuda:7")
    assert status == 1
    assert "found no config.json" in found["reranker"]["detail"]
    assert "'cuda:7'" in found["machine"]["detail"]
    assert found["store"]["status"] == "broken"
    assert main(["--set", f"model={empty}"]) == 1
    assert "broken" in capsys.readouterr().out


def test_a_setting_that_is_wrong_is_the_only_finding(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = examined(capsys, "--set", "candidates=many")
    assert (status, list(found)) == (1, ["settings"])


def test_a_weaviate_that_is_away_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("weaviate", reason="pip install -e '.[weaviate]'")
    status, found = examined(capsys, "--set", f"weaviate_url={DEAD}")
    assert status == 1
    assert DEAD in found["store"]["detail"]


def test_a_weaviate_without_our_class_is_well(
    weaviate_server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in weaviate_server.flags.items():
        variable = "SEARCH_" + name.upper().replace(".", "__")
        monkeypatch.setenv(variable, str(value))
    monkeypatch.setenv("SEARCH_WEAVIATE__COLLECTION", "NotThere")
    status, found = examined(capsys)
    assert (status, found["store"]["status"]) == (0, "missing")
    assert "NotThere" in found["store"]["detail"]


def test_what_nobody_foresaw_is_a_finding_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(self: Examination) -> Any:
        raise ZeroDivisionError("the moon")

    monkeypatch.setattr(Examination, "_store", fails)
    status, found = examined(capsys)
    assert status == 1
    assert found["store"]["detail"] == "ZeroDivisionError: the moon"
