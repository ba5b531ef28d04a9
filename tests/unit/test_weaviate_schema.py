"""The class as data: what is asked for, how it differs from what is there, stable ids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import config
from search.store.weaviate import schema
from search.types import EmbeddingInfo

MODEL = EmbeddingInfo("mini", "abc", 384, "query: ", "passage: ")


def made(vectorizer: str = "none", **settings: Any) -> dict[str, Any]:
    flags = {f"weaviate.{name}": value for name, value in settings.items()}
    described = schema.Description(MODEL)
    return schema.class_schema(config.load(flags).weaviate, vectorizer, described)


def test_ids_are_stable_and_differ() -> None:
    assert str(schema.object_id("a", 0)) == "27e66820-a047-5e48-a2d3-9c6e7a7a0bd6"
    pairs = [("a", 0), ("a", 1), ("b", 0), ("1\na", 0), ("a\n1", 0), ("", 10), ("0", 1)]
    assert len({schema.object_id(*pair) for pair in pairs}) == len(pairs)


def test_the_description_carries_the_embedding_model() -> None:
    assert schema.description_of(made()["description"]) == schema.Description(MODEL)
    queries_here = schema.Description(MODEL, our_queries=True)
    assert schema.description_of(str(queries_here)) == queries_here
    assert schema.description_of("Somebody's articles") is None
    assert schema.description_of(None) is None


def test_a_description_of_another_version_is_read() -> None:
    text = made()["description"]
    older = text.replace(', "passage_prefix": "passage: "', "")
    newer = text.replace('"name"', '"quality": 3, "name"')
    assert schema.description_of(older).embedding == replace(MODEL, passage_prefix="")
    assert schema.description_of(newer).embedding == MODEL


def test_only_the_text_is_embedded_and_without_the_class_name() -> None:
    found = made("text2vec-transformers", vectorizer_settings={"poolingStrategy": "cls"})
    module = found["vectorConfig"]["default"]["vectorizer"]["text2vec-transformers"]
    assert module == {"properties": ["text"], "vectorizeClassName": False, "poolingStrategy": "cls"}


def test_the_class_can_be_reranked_where_the_server_has_the_module() -> None:
    expected = {"moduleConfig": {"reranker-transformers": {}}}
    assert schema.reranking(["text2vec-transformers", "reranker-transformers"]) == expected
    assert schema.reranking(["text2vec-transformers"]) == {}


def test_settings_reach_the_class() -> None:
    found = made(
        index="hnsw",
        index_settings={"efConstruction": 256},
        quantization="rq",
        shards=2,
        replication_factor=3,
        tokenization="trigram",
    )
    vectors = found["vectorConfig"]["default"]
    assert vectors["vectorIndexType"] == "hnsw"
    assert vectors["vectorIndexConfig"] == {
        "distance": "cosine",
        "efConstruction": 256,
        "rq": {"enabled": True},
    }
    assert found["shardingConfig"] == {"desiredCount": 2}
    assert found["replicationConfig"] == {"factor": 3}
    (text,) = [known for known in found["properties"] if known["name"] == "text"]
    assert (text["tokenization"], text["indexSearchable"]) == ("trigram", True)
    assert made(tenant="ours")["multiTenancyConfig"]["enabled"] is True


def test_what_was_not_asked_for_is_not_compared() -> None:
    there = made(shards=2, replication_factor=3, index="flat", index_settings={"ef": 64})
    assert schema.differences(there, made()) == []
    assert schema.differences(made(), made()) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"replication_factor": 3}, "replication factor is 1, expected 3"),
        ({"shards": 4}, "shards is 1, expected 4"),
        ({"index": "flat"}, "index is 'hnsw', expected 'flat'"),
        ({"quantization": "rq"}, "index: rq is None, expected True"),
        ({"index_settings": {"efConstruction": 9}}, "index: efConstruction is 128, expected 9"),
        (
            {"tenant": "x"},
            "multi-tenant is False, expected True (weaviate.tenant names one tenant of a class "
            "that has tenants)",
        ),
    ],
)
def test_each_difference_is_named(settings: dict[str, Any], said: str) -> None:
    there = made(
        replication_factor=1, shards=1, index="hnsw", index_settings={"efConstruction": 128}
    )
    assert schema.differences(there, made(**settings)) == [said]


def test_bm25_reads_the_words_of_the_embedded_store_unless_asked_otherwise() -> None:
    searched = {p["name"] for p in made()["properties"] if p["indexSearchable"]}
    assert searched == {"words"}
    own = {p["name"] for p in made(tokenization="trigram")["properties"] if p["indexSearchable"]}
    assert own == {"text"}


def test_a_class_made_before_is_as_asked() -> None:
    """Without sources, locations and words, and with BM25 on the text."""
    there = made(tokenization="word")
    later = {"metadata_values", "source_file", "source_line", "location"}
    there["properties"] = [p for p in there["properties"] if p["name"] not in later]
    assert schema.differences(there, made()) == []
    assert schema.differences(there, made(tokenization="word")) == []
    assert schema.differences(made(), made(tokenization="word")) != []


def test_another_tokenization_is_named() -> None:
    found = schema.differences(made(tokenization="word"), made(tokenization="gse"))
    assert found == ["property text: tokenization is 'word', expected 'gse'"]


def test_another_vectorizer_and_a_missing_property_are_named() -> None:
    there = made("text2vec-openai")
    there["properties"] = [p for p in there["properties"] if p["name"] != "content_hash"]
    found = "; ".join(schema.differences(there, made("text2vec-transformers")))
    assert "vectorizer is 'text2vec-openai', expected 'text2vec-transformers'" in found
    assert "property content_hash: dataType is None, expected ['text']" in found
