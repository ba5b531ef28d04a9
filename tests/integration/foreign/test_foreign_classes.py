"""Classes that others made, as Weaviate's own documentation makes them: searched, never changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import weaviate
from foreign_classes import QUESTIONS, Open, found, notes
from store_support import HashedWords
from weaviate.classes.config import (
    Configure,
    DataType,
    Property,
    ReferenceProperty,
    Tokenization,
    VectorDistances,
)
from weaviate.classes.data import DataObject
from weaviate.classes.tenants import Tenant, TenantActivityStatus

from search.errors import ConfigError, StoreError, StoreMissing, StoreUnavailable
from search.store.weaviate.foreign.store import ForeignStore


def test_the_quickstart_s_class_made_by_auto_schema(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    questions = others.collections.create(
        name, vector_config=Configure.Vectors.text2vec_transformers()
    )
    stored = questions.data.insert_many(QUESTIONS)
    store = opened()
    assert isinstance(store, ForeignStore)
    for mode in ("hybrid", "near_text", "bm25"):
        best = found(store, "mammal with a trunk", mode)[0]
        assert best.document_id == str(stored.uuids[1])
        assert (best.title, best.passage) == ("This mammal has a trunk", "Elephant")
        assert best.metadata == {"category": "ANIMALS"}
    near, words, both = (found(store, "trunk", m)[0] for m in ("near_text", "bm25", "hybrid"))
    assert near.cosine == near.score
    assert words.bm25 == words.score > 0
    assert both.fused == both.score <= 1
    assert (both.cosine, both.bm25) == (None, None)
    assert notes(store) == (
        f"class {name} was made by others; read as title=question, text=answer, "
        "vector=default (text2vec-transformers, cosine)"
    )


def test_near_text_gives_the_server_s_own_cosines(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    """A class as it was made before vectors had names."""
    module = {"vectorizeClassName": False}
    definition = {
        "class": name,
        "vectorizer": "text2vec-transformers",
        "moduleConfig": {"text2vec-transformers": module},
        "properties": [{"name": one, "dataType": ["text"]} for one in ("title", "body")],
    }
    articles = others.collections.create_from_dict(definition)
    articles.data.insert_many(
        [{"title": "Cats", "body": "sleep"}, {"title": "Dogs", "body": "run"}]
    )
    store = opened()
    assert "vector=unnamed (text2vec-transformers, cosine)" in notes(store)
    vectors = {str(o.uuid): o.vector["default"] for o in articles.iterator(include_vector=True)}
    query = HashedWords().encode_query("dogs that run")
    for one in found(store, "dogs that run", "near_text"):
        assert one.cosine == pytest.approx(float(query @ vectors[one.document_id]), abs=1e-4)


def test_articles_that_refer_to_a_publication(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    """References are left alone, and a class of names alone is searched by them."""
    publications = others.collections.create(
        f"{name}Publication",
        vector_config=Configure.Vectors.text2vec_transformers(),
        properties=[Property(name="name", data_type=DataType.TEXT)],
    )
    try:
        gazette = publications.data.insert({"name": "The Daily Gazette"})
        articles = others.collections.create(
            name,
            vector_config=Configure.Vectors.text2vec_transformers(),
            properties=[
                Property(name="title", data_type=DataType.TEXT),
                Property(name="url", data_type=DataType.TEXT, tokenization=Tokenization.FIELD),
                Property(name="summary", data_type=DataType.TEXT),
                Property(name="wordCount", data_type=DataType.INT),
            ],
            references=[
                ReferenceProperty(name="inPublication", target_collection=f"{name}Publication")
            ],
        )
        one = articles.data.insert(
            {"title": "Rain", "url": "http://x/1", "summary": "It rains again", "wordCount": 3},
            references={"inPublication": gazette},
        )
        store = opened()
        (hit,) = found(store, "rain")
        assert hit.document_id == str(one)
        assert hit.metadata == {"url": "http://x/1", "wordCount": 3}
        assert [h.document_id for h in found(store, "rain", "hybrid", "url=http://x/1")] == [
            hit.document_id
        ]
        papers = opened(collection=f"{name}Publication")
        assert [h.passage for h in found(papers, "gazette")] == ["The Daily Gazette"]
        assert "title=none, text=name" in notes(papers)
    finally:
        others.collections.delete(f"{name}Publication")


def test_vectors_of_one_s_own_that_are_not_our_model_s(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    """The quickstart's have 8 dimensions: nobody here can embed a query for them."""
    movies = others.collections.create(name, vector_config=Configure.Vectors.self_provided())
    movies.data.insert_many(
        [
            DataObject({"title": "Robots", "description": "A machine sings"}, vector=[0.1] * 8),
            DataObject({"title": "Ghosts", "description": "A house speaks"}, vector=[0.2] * 8),
        ]
    )
    store = opened()
    (hit,) = found(store, "machine")
    assert (hit.title, hit.cosine, hit.fused) == ("Robots", None, None)
    assert hit.bm25 == hit.score
    assert "found by BM25 alone" in notes(store)
    expected = (
        r"8 dimensions, and those of our embedding model 'hashed-words' 64: set embedding_model"
    )
    with pytest.raises(StoreError, match=expected):
        found(store, "machine", "near_text")


@pytest.mark.parametrize(
    "metric", [VectorDistances.COSINE, VectorDistances.L2_SQUARED, VectorDistances.DOT]
)
def test_vectors_of_one_s_own_that_our_model_made(
    others: weaviate.WeaviateClient, name: str, opened: Open, metric: VectorDistances
) -> None:
    index = Configure.VectorIndex.hnsw(distance_metric=metric)
    reviews = others.collections.create(
        name, vector_config=Configure.Vectors.self_provided(vector_index_config=index)
    )
    texts = ["cats sleep all day", "dogs run in the park", "salt on a stroke of luck"]
    model = HashedWords()
    reviews.data.insert_many(
        [DataObject({"review_body": t}, vector=model.encode_query(t).tolist()) for t in texts]
    )
    store = opened()
    assert "BM25 alone" not in notes(store)
    near = found(store, "dogs in a park", "near_text")
    assert next(one.passage for one in near) == texts[1]
    assert [one.score for one in near] == sorted((one.score for one in near), reverse=True)
    query = model.encode_query("dogs in a park")
    for one in near:
        cosine = float(query @ model.encode_query(one.passage))
        if metric is VectorDistances.COSINE:
            assert one.cosine == one.score == pytest.approx(cosine, abs=1e-4)
        else:
            assert one.cosine is None
    assert found(store, "dogs park")[0].passage == texts[1]


def test_threads_share_a_store(others: weaviate.WeaviateClient, name: str, opened: Open) -> None:
    """From the first search on, when one of them settles whose the vectors are."""
    there = others.collections.create(name, vector_config=Configure.Vectors.self_provided())
    model = HashedWords()
    texts = [f"word{i} of rain" for i in range(20)]
    there.data.insert_many(
        [DataObject({"text": t}, vector=model.encode_query(t).tolist()) for t in texts]
    )
    store = opened(embedder=model)
    with ThreadPoolExecutor(8) as pool:
        best = list(pool.map(lambda text: found(store, text)[0].passage, texts))
    assert best == texts
    assert len(model.embedded) == 5  # of five objects, to compare; by one thread


def test_another_model_s_vectors_of_as_many_dimensions_are_not_searched(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    notes_ = others.collections.create(name, vector_config=Configure.Vectors.self_provided())
    model = HashedWords()
    notes_.data.insert_many(
        [
            DataObject({"text": text}, vector=model.encode_query(text[::-1]).tolist())
            for text in ("cats sleep all day", "dogs run in the park", "rain falls in spring")
        ]
    )
    store = opened()
    assert (
        "64 dimensions, as those of our embedding model 'hashed-words', but are another"
        in notes(store)
    )
    assert [one.fused for one in found(store, "dogs")] == [None]


def test_objects_without_any_vector(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    others.collections.create(name).data.insert_many([{"text": "rain falls"}, {"text": "sun"}])
    store = opened()
    assert [one.passage for one in found(store, "rain")] == ["rain falls"]
    assert "its objects have no vector default" in notes(store)


def test_named_vectors(others: weaviate.WeaviateClient, name: str, opened: Open) -> None:
    vectors = Configure.Vectors
    articles = others.collections.create(
        name,
        vector_config=[
            vectors.text2vec_transformers(name="title_vector", source_properties=["title"]),
            vectors.text2vec_transformers(name="body_vector", source_properties=["body"]),
            vectors.self_provided(name="custom_vector"),
        ],
        properties=[
            Property(name="title", data_type=DataType.TEXT),
            Property(name="body", data_type=DataType.TEXT),
        ],
    )
    articles.data.insert_many(
        [{"title": "rain", "body": "sun and wind"}, {"title": "sun", "body": "rain"}]
    )
    store = opened()
    assert "vector=body_vector (text2vec-transformers, cosine)" in notes(store)
    assert found(store, "rain", "near_text")[0].title == "sun"
    assert found(store, "rain", "hybrid")[0].title in ("sun", "rain")
    by_title = opened(vector_name="title_vector")
    assert found(by_title, "rain", "near_text")[0].title == "rain"
    unclear = opened(text_properties="title,body", title_property=None)
    with pytest.raises(
        ConfigError, match=r"several vectors.*body_vector \(.*\) from body; custom_"
    ):
        found(unclear, "rain")
    assert len(found(unclear, "rain", "bm25")) == 2
    with pytest.raises(ConfigError, match="vector_name is 'other', but class"):
        found(opened(vector_name="other"), "rain")
    alone = opened(vector_name="custom_vector")
    assert "its objects have no vector custom_vector" in notes(alone)


def test_tenants(others: weaviate.WeaviateClient, name: str, opened: Open) -> None:
    there = others.collections.create(
        name,
        vector_config=Configure.Vectors.text2vec_transformers(),
        multi_tenancy_config=Configure.multi_tenancy(enabled=True),
        properties=[Property(name="question", data_type=DataType.TEXT)],
    )
    there.tenants.create([Tenant(name="tenantA"), Tenant(name="tenantB")])
    there.with_tenant("tenantA").data.insert({"question": "why is the sky blue"})
    there.with_tenant("tenantB").data.insert({"question": "why does the sky turn red"})
    with pytest.raises(
        ConfigError, match=r"has tenants: set weaviate.tenant to one .*tenantA, ten"
    ):
        opened()
    with pytest.raises(StoreMissing, match=r"no tenant 'C' yet \(it has tenantA, tenantB\)"):
        opened(tenant="C")
    store = opened(tenant="tenantB")
    assert [one.passage for one in found(store, "sky")] == ["why does the sky turn red"]
    assert store.describe().documents == 1
    assert store.describe().location.endswith(f"class {name} tenant tenantB")
    there.tenants.update(Tenant(name="tenantA", activity_status=TenantActivityStatus.INACTIVE))
    with pytest.raises(StoreUnavailable, match=r"'tenantA' that weaviate.tenant names is INACTIVE"):
        opened(tenant="tenantA")


def test_a_tenant_that_sleeps_until_it_is_asked(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    there = others.collections.create(
        name,
        multi_tenancy_config=Configure.multi_tenancy(
            enabled=True, auto_tenant_creation=True, auto_tenant_activation=True
        ),
    )
    there.with_tenant("a").data.insert({"text": "rain falls"})
    there.tenants.update(Tenant(name="a", activity_status=TenantActivityStatus.INACTIVE))
    assert [one.passage for one in found(opened(tenant="a"), "rain", "bm25")] == ["rain falls"]


def test_a_tenant_of_a_class_without_any(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    others.collections.create(name, properties=[Property(name="text", data_type=DataType.TEXT)])
    with pytest.raises(ConfigError, match=r"has no tenants, but weaviate.tenant is 'a': unset it"):
        opened(tenant="a")
