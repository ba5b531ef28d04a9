"""Ingest into the real store: kills at random moments, huge lines, and the real model once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import apsw

import config
from search.store.open import open_store

ROOT = Path(__file__).parents[2]
CHILD = [sys.executable, str(Path(__file__).with_name("ingest_child.py"))]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
WORDS = [
    "heart",
    "disease",
    "surgery",
    "prevention",
    "stroke",
    "asthma",
    "diet",
    "salt",
    "risk",
    "pressure",
]


def corpus(path: Path, count: int, seed: int = 0) -> Path:
    chance = random.Random(seed)
    with path.open("w") as file:
        for i in range(count):
            sentences = (" ".join(chance.choices(WORDS, k=6)) for _ in range(chance.randint(1, 6)))
            text = ". ".join(sentences) + "."
            record = {"_id": f"d{i}", "title": WORDS[i % 10], "text": text, "year": 2000 + i % 20}
            file.write(json.dumps(record) + "\n")
    return path


def ingest(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [*CHILD, *map(str, arguments), "--json"], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr, done.stderr
    return {"status": done.returncode, "error": done.stderr} | json.loads(done.stdout or "{}")


def peak_kib(*arguments: object) -> int:
    """The memory of this one run: a process between keeps other tests' children out of it."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, *CHILD, *map(str, arguments)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return int(done.stdout)


def content(store: Path) -> list[Any]:
    """Every document with its source, its passages and their vectors."""
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    rows = connection.execute(
        "SELECT d.id, d.title, d.metadata, d.content_hash, d.source_file, d.source_line, "
        "p.position, p.text, v.embedding FROM documents d JOIN passages p ON p.document = d.key "
        "JOIN vectors v ON v.passage = p.key ORDER BY d.id, p.position"
    ).fetchall()
    connection.close()
    return rows


def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    data = corpus(tmp_path / "corpus.jsonl", 200)
    undisturbed, killed = tmp_path / "undisturbed.db", tmp_path / "killed.db"
    assert ingest(data, "--store", undisturbed)["stored"] == 200
    slow = ENVIRONMENT | {"SECONDS_A_BATCH": "0.03"}
    chance, deaths = random.Random(), 0
    for _ in range(6):
        child = subprocess.Popen(
            [*CHILD, str(data), "--store", str(killed)],
            env=slow, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        before = documents(killed)
        while child.poll() is None and documents(killed) <= before:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.15))
        child.kill()
        deaths += child.wait() == -9
    assert deaths >= 3
    last = ingest(data, "--store", killed)
    assert last["status"] == 0
    assert last["stored"] + last["unchanged"] == 200
    assert last["unchanged"] >= 8 * deaths
    expected = content(undisturbed)
    assert len(expected) > 300
    assert content(killed) == expected
    assert ingest("--verify", "--store", killed)["faults"] == []
    again = ingest(data, "--store", killed)
    assert (again["stored"], again["unchanged"]) == (0, 200)


def test_kills_while_files_move_and_are_pruned_lose_nothing(tmp_path: Path) -> None:
    """The second version replaces and removes; killed at any moment, it ends the same."""
    first = corpus(tmp_path / "first.jsonl", 120)
    undisturbed, killed = tmp_path / "undisturbed.db", tmp_path / "killed.db"
    for store in (undisturbed, killed):
        assert ingest(first, "--store", store)["stored"] == 120
    lines = first.read_text().splitlines()
    changed = [line.replace('"text": "', '"text": "New. ') for line in lines[:50]]
    first.write_text("\n".join([*changed, *lines[70:]]))
    command = [first, "--prune"]
    assert ingest(*command, "--store", undisturbed)["removed"] == 20
    slow = ENVIRONMENT | {"SECONDS_A_BATCH": "0.03"}
    chance, deaths = random.Random(1), 0
    for _ in range(4):
        child = subprocess.Popen(
            [*CHILD, *map(str, command), "--store", str(killed)],
            env=slow, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(chance.uniform(0.3, 1.5))
        child.kill()
        deaths += child.wait() == -9
        assert documents(killed) >= 100
    last = ingest(*command, "--store", killed)
    assert (last["status"], last["store"]["documents"]) == (0, 100)
    assert content(killed) == content(undisturbed)
    assert ingest("--verify", "--store", killed)["faults"] == []


def test_a_second_ingest_waits_for_nobody_but_says_so(tmp_path: Path) -> None:
    data = corpus(tmp_path / "corpus.jsonl", 40)
    store = tmp_path / "store.db"
    first = subprocess.Popen(
        [*CHILD, str(data), "--store", str(store)],
        env=ENVIRONMENT | {"SECONDS_A_BATCH": "5"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not documents(store):
        assert first.poll() is None
        time.sleep(0.05)
    second = ingest(data, "--store", store)
    first.kill()
    assert first.wait() == -9
    assert second["status"] == 1
    assert f"process {first.pid} on" in second["error"]
    assert ingest(data, "--store", store)["status"] == 0  # the killed one left no lock behind


def documents(store: Path) -> int:
    if not store.exists():
        return 0
    try:
        connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(1000)
        found = int(connection.execute("SELECT count(*) FROM documents").get)
        connection.close()
        return found
    except apsw.Error:  # the tables are just being made
        return 0


def test_a_changed_corpus_is_followed(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    data = corpus(tmp_path / "corpus.jsonl", 40)
    ingest(data, "--store", store)
    lines = data.read_text().splitlines()
    lines[3] = lines[3].replace('"text": "', '"text": "New. ')
    data.write_text("\n".join(lines[:30]))
    before = store.read_bytes()
    dry = ingest(data, "--store", store, "--prune", "--dry-run")
    assert (dry["stored"], dry["unchanged"], dry["removed"]) == (1, 29, 10)
    assert store.read_bytes() == before
    real = ingest(data, "--store", store, "--prune")
    assert (real["stored"], real["unchanged"], real["removed"]) == (1, 29, 10)
    assert real["store"]["documents"] == 30
    assert ingest("--verify", "--store", store)["status"] == 0


def test_a_line_larger_than_the_memory_allowed_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "huge.jsonl"
    with path.open("wb") as file:
        file.write(b'{"id": 1, "text": "before"}\n{"id": 2, "text": "')
        for _ in range(300):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"id": 3, "text": "after"}\n')
    arguments = [path, "--store", tmp_path / "s.db", "--rejects", tmp_path / "rejects.jsonl"]
    found = ingest(*arguments)
    assert (found["status"], found["stored"], found["rejected"]) == (1, 2, 1)
    assert "huge.jsonl:2: the line is larger than 32 MiB" in found["error"]
    assert (tmp_path / "rejects.jsonl").stat().st_size < 1000
    assert peak_kib(*arguments) < 300 * 1024


def test_verify_finds_and_repair_mends_what_was_tampered_with(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    data = corpus(tmp_path / "corpus.jsonl", 20)
    ingest(data, "--store", store)
    before = content(store)
    connection = apsw.Connection(str(store))
    connection.execute(
        "UPDATE passages SET text = 'tampered with' WHERE key = 1;"
        "UPDATE documents SET metadata = 'no JSON' WHERE id = 'd2';"
        "UPDATE vectors SET embedding = zeroblob(length(embedding)) WHERE passage = 9;"
        "DELETE FROM vectors WHERE passage = 11"
    )
    connection.close()
    found = ingest("--verify", "--store", store)
    assert found["status"] == 1
    assert {fault["reason"]: fault["count"] for fault in found["faults"]} == {
        "documents whose metadata is not a JSON object": 1,
        "passages whose text is not the one that was stored": 1,
        "vectors of the wrong size or length": 1,
        "passages without a vector": 1,
    }
    repaired = ingest("--repair", "--store", store)
    assert repaired["status"] == 1
    (left,) = repaired["left"]
    assert (left["count"], left["ids"]) == (2, ["d0", "d2"])
    assert ingest(data, "--store", store)["stored"] == 2
    assert ingest("--verify", "--store", store)["faults"] == []
    assert content(store) == before


def test_watching_ends_cleanly(tmp_path: Path) -> None:
    folder, store = tmp_path / "notes", tmp_path / "store.db"
    folder.mkdir()
    (folder / "a.txt").write_text("heart")
    child = subprocess.Popen(
        [*CHILD, str(folder), "--watch", "--store", str(store), "--json"],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not documents(store):
        assert child.poll() is None
        time.sleep(0.05)
    (folder / "b.txt").write_text("stroke")
    deadline = time.monotonic() + 60
    while documents(store) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert documents(store) == 2
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert "stopped watching" in errors
    assert "Traceback" not in errors
    assert child.returncode == 0


def test_what_the_real_model_embeds_is_found(tmp_path: Path) -> None:
    documents = [
        {
            "id": "heart",
            "title": "Heart",
            "text": "Exercise keeps the arteries healthy.",
            "year": 1,
        },
        {"id": "bread", "title": "Bread", "text": "Knead flour, water and salt. " * 100, "year": 2},
    ]
    (tmp_path / "docs.json").write_text(json.dumps({"documents": documents}))
    command = [sys.executable, "-m", "ingest", str(tmp_path / "docs.json")]
    store = tmp_path / "store.db"
    subprocess.run([*command, "--store", str(store)], cwd=ROOT, check=True, capture_output=True)
    opened = open_store(config.load({"store": store}, {}, []))
    try:
        best = opened.retrieve("preventing cardiac illness", 1, mode="near_text")[0]
        assert (best.document_id, best.metadata["year"]) == ("heart", 1)
        assert opened.describe().passages > 3
    finally:
        opened.close()
