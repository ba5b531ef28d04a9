"""Searches of others' classes as a user makes them: many objects, long texts, the real models."""

from __future__ import annotations

import json
from typing import Any

import pytest
import weaviate
from foreign_classes import Open, found, notes, settings_of
from store_support import HashedWords
from weaviate.classes.config import Configure, DataType, Property
from weaviate.classes.data import DataObject
from weaviate.connect.v4 import ConnectionSync
from weaviate_nodes import Server

from search import Searcher
from search.embed import load_embedder
from two_stage.__main__ import main as two_stage

FIVE_THOUSAND = 5000


def test_five_thousand_objects_in_one_query(
    others: weaviate.WeaviateClient, name: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = others.collections.create(
        name,
        properties=[
            Property(name="title", data_type=DataType.TEXT),
            Property(name="text", data_type=DataType.TEXT),
        ],
    )
    model = HashedWords()
    there.data.insert_many(
        [
            DataObject(
                {"title": f"Note {i}", "text": f"word{i} of rain"},
                vector=model.encode_query(f"word{i} of rain").tolist(),
            )
            for i in range(FIVE_THOUSAND)
        ]
    )
    store = opened()
    assert "BM25 alone" not in notes(store)
    asked: list[str] = []
    search = ConnectionSync.grpc_search

    def counted(self: Any, request: Any, *arguments: Any, **named: Any) -> Any:
        asked.append(request.collection)
        return search(self, request, *arguments, **named)

    monkeypatch.setattr(ConnectionSync, "grpc_search", counted)
    for mode in ("hybrid", "near_text", "bm25"):
        del asked[:]
        best = found(store, "word4321", mode)
        assert asked == [name]
        assert len(best) == (1 if mode == "bm25" else 10)
        assert mode == "near_text" or best[0].title == "Note 4321"
    assert len(list(store.documents())) == store.describe().documents == FIVE_THOUSAND


def test_a_search_with_the_real_models(
    others: weaviate.WeaviateClient, server: Server, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Vectors that our embedding model made; the answer to the question ends a very long text."""
    there = others.collections.create(name, vector_config=Configure.Vectors.self_provided())
    long = "The harbour was busy that day. " * 400
    answer = "A heart attack is prevented by exercise, a healthy diet and not smoking."
    texts = {"Harbour": long + answer, "Bread": "Knead the dough and let it rise for an hour."}
    settings = settings_of(server, name)
    model = load_embedder(settings)
    there.data.insert_many(
        [
            DataObject(
                {"headline": t, "body": b}, vector=model.encode_passages([answer])[0].tolist()
            )
            if t == "Harbour"
            else DataObject(
                {"headline": t, "body": b}, vector=model.encode_passages([b])[0].tolist()
            )
            for t, b in texts.items()
        ]
    )
    with Searcher.from_settings(settings) as searcher:
        ranking = searcher.search("how to prevent a heart attack")
    best = ranking.hits[0]
    assert ranking.reranked is True
    assert best.title == "Harbour"
    assert answer in best.passage
    assert len(best.passage) < len(long) / 2
    assert best.probability is not None
    assert best.probability > 2 * (ranking.hits[1].probability or 1)
    assert ranking.notes[0].startswith(f"class {name} was made by others; read as title=headline")
    flags = [f"--set={key}={value}" for key, value in server.flags.items()]
    flags += [f"--set=weaviate.collection={name}"]
    assert two_stage(["search", "--json", "prevent a heart attack", *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [hit["title"] for hit in found["hits"]] == ["Harbour", "Bread"]
    assert two_stage(["stats", *flags]) == 0
    assert "note       class" in capsys.readouterr().out
    assert two_stage(["export", *flags]) == 0
    exported = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["title"]: one["text"] for one in exported} == texts
    assert two_stage(["show", best.id, *flags]) == 0
    assert "title     Harbour" in capsys.readouterr().out
