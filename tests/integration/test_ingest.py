"""Ingest into the real store: kills at random moments, huge lines, and the real model once."""

from __future__ import annotations

import json
import os
import random
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
    """Every document with its passages, their vectors, and what the ledger says of it."""
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    rows = connection.execute(
        "SELECT d.id, d.title, d.metadata, d.content_hash, p.position, p.text, v.embedding, "
        "i.content_hash, i.file, (SELECT count(*) FROM ingested) "
        "FROM documents d JOIN passages p ON p.document = d.key "
        "JOIN vectors v ON v.passage = p.key LEFT JOIN ingested i ON i.id = d.id "
        "ORDER BY d.id, p.position"
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
    assert [row[:-2] for row in content(killed)] == [row[:-2] for row in expected]
    assert {row[-1] for row in content(killed)} == {200}
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


def test_verify_finds_what_was_tampered_with(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    ingest(corpus(tmp_path / "corpus.jsonl", 20), "--store", store)
    connection = apsw.Connection(str(store))
    connection.execute("DELETE FROM ingested WHERE id = 'd1'")
    connection.execute("UPDATE ingested SET content_hash = 'x' WHERE id = 'd2'")
    connection.execute("UPDATE ingested SET id = 'gone' WHERE id = 'd3'")
    connection.close()
    found = ingest("--verify", "--store", store)
    assert found["status"] == 1
    assert found["faults"] == [
        "1 in the ledger, but not in the store: 'gone'",
        "2 in the store, but not in the ledger: 'd1', 'd3'",
        "1 with other content in the store than the ledger says: 'd2'",
    ]
    assert ingest(tmp_path / "corpus.jsonl", "--store", store)["stored"] == 0
    assert ingest("--verify", "--store", store)["faults"] == []


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
