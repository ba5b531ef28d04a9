"""Classes that others made, as Weaviate's own documentation makes them: searched, never changed."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import weaviate
from model_service import model_service
from store_support import HashedWords, entry
from weaviate.classes.config import (
    Configure,
    DataType,
    Property,
    ReferenceProperty,
    Tokenization,
    VectorDistances,
)
from weaviate.classes.data import DataObject
from weaviate.classes.init import Auth
from weaviate.classes.tenants import Tenant, TenantActivityStatus
from weaviate.connect.v4 import ConnectionSync
from weaviate_server import Maker, Missing, Server, killable

import config
from ingest.__main__ import main as ingest
from search import Searcher
from search.embed import load_embedder
from search.errors import (
    ConfigError,
    InputError,
    StoreError,
    StoreMissing,
    StoreUnavailable,
)
from search.filters import parse_filters
from search.store import Embedder, Store
from search.store.open import open_store
from search.store.weaviate.foreign.store import ForeignStore
from search.store.weaviate.store import WeaviateStore
from search.types import Candidate, RetrievalMode, Source
from two_stage.__main__ import main as two_stage

MODULES = "text2vec-transformers,reranker-transformers,text2vec-openai,ref2vec-centroid"
QUESTIONS = [
    {"category": "SCIENCE", "question": "Plants take this gas from the air", "answer": "CO2"},
    {"category": "ANIMALS", "question": "This mammal has a trunk", "answer": "Elephant"},
    {"category": "ANIMALS", "question": "The largest land animal with tusks", "answer": "Elephant"},
]
FIVE_THOUSAND = 5000

Open = Callable[..., Store]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of our own, for all of these tests, whose vectorizer is the tests' HashedWords."""
    with ExitStack() as stack:
        try:
            make = stack.enter_context(killable(tmp_path_factory.mktemp("foreign")))
        except Missing as reason:
            pytest.skip(f"this test starts a server with modules: {reason}")
        # Indexed at once, so that a test finds what it has just stored.
        one = make({"ENABLE_MODULES": MODULES, "ASYNC_INDEXING": "false"})
        one.start()
        one.wait()
        assert one.server.service_port is not None
        stack.enter_context(model_service(one.server.service_host, one.server.service_port))
        yield one.server


@pytest.fixture(scope="module")
def others(server: Server) -> Iterator[weaviate.WeaviateClient]:
    """The plain client, with which others made their classes."""
    with weaviate.connect_to_local(
        *server.rest, grpc_port=server.grpc_port, skip_init_checks=True
    ) as client:
        yield client


@pytest.fixture
def name(others: weaviate.WeaviateClient) -> Iterator[str]:
    """The name of a class for one test, deleted after it."""
    name = f"Others{uuid4().hex[:12]}"
    yield name
    others.collections.delete(name)


@pytest.fixture
def opened(server: Server, name: str) -> Iterator[Open]:
    """The store on the test's class; `open_store` decides which kind it is."""
    with ExitStack() as stack:

        def open_(embedder: Embedder | None = None, create: bool = False, **options: Any) -> Store:
            store = open_store(
                settings_of(server, name, **options),
                create=create,
                embedder=embedder or HashedWords(),
            )
            return stack.enter_context(closing(store))

        yield open_


def settings_of(server: Server, name: str, **options: Any) -> config.Settings:
    own = {f"weaviate.{option}": value for option, value in options.items()}
    return config.load(server.flags | {"weaviate.collection": name} | own, {}, [])


def found(store: Store, query: str, mode: RetrievalMode = "hybrid", *where: str) -> list[Candidate]:
    return store.retrieve(query, 10, parse_filters(where), mode)


def notes(store: Store) -> str:
    return "\n".join(store.describe().notes)


# --- the quickstarts' classes


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


# --- what objects are made of


@pytest.fixture(scope="module")
def people(others: weaviate.WeaviateClient) -> Iterator[str]:
    """Objects of every type, some of which lack most of them."""
    name = f"Person{uuid4().hex[:8]}"
    kind = DataType
    there = others.collections.create(
        name,
        vector_config=Configure.Vectors.text2vec_transformers(),
        properties=[
            Property(name="description", data_type=kind.TEXT),
            Property(name="city", data_type=kind.TEXT, tokenization=Tokenization.FIELD),
            Property(name="motto", data_type=kind.TEXT),
            Property(name="age", data_type=kind.INT, index_range_filters=True),
            Property(name="height", data_type=kind.NUMBER),
            Property(name="active", data_type=kind.BOOL),
            Property(name="born", data_type=kind.DATE),
            Property(name="badge", data_type=kind.UUID),
            Property(name="tags", data_type=kind.TEXT_ARRAY, tokenization=Tokenization.FIELD),
            Property(name="scores", data_type=kind.INT_ARRAY),
            Property(name="secret", data_type=kind.INT, index_filterable=False),
            Property(name="home", data_type=kind.GEO_COORDINATES),
            Property(name="photo", data_type=kind.BLOB),
            Property(
                name="address",
                data_type=kind.OBJECT,
                nested_properties=[Property(name="street", data_type=kind.TEXT)],
            ),
        ],
    )
    there.data.insert_many(
        [
            {
                "description": "a painter of rain", "city": "New York", "motto": "Slow and steady",
                "age": 41, "height": 1.7, "active": True, "born": datetime(1980, 5, 31, tzinfo=UTC),
                "badge": UUID(int=5), "tags": ["red", "blue"], "scores": [1, 2], "secret": 7,
                "home": {"latitude": 1.0, "longitude": 2.0}, "photo": "aGk=",
                "address": {"street": "Main Street"},
            },
            {
                "description": "a poet of rain", "city": "Rome", "motto": "Slow", "age": 30,
                "height": 1.8, "active": False, "born": datetime(1990, 1, 1, tzinfo=UTC),
                "badge": UUID(int=6),
                "tags": ["blue"], "scores": [3],
            },
            {"description": "a sailor of rain"},
        ]
    )  # fmt: skip
    yield name
    others.collections.delete(name)


@pytest.fixture(scope="module")
def person(server: Server, people: str) -> Iterator[Store]:
    with closing(open_store(settings_of(server, people), embedder=HashedWords())) as store:
        yield store


def test_everything_primitive_is_metadata(person: Store) -> None:
    (painter,) = [one for one in found(person, "painter") if "painter" in one.passage]
    assert painter.metadata == {
        "city": "New York", "motto": "Slow and steady", "age": 41, "height": 1.7, "active": True,
        "born": "1980-05-31T00:00:00Z", "badge": str(UUID(int=5)), "tags": ("red", "blue"),
        "scores": (1, 2), "secret": 7,
    }  # fmt: skip
    (sailor,) = [one for one in found(person, "sailor") if "sailor" in one.passage]
    assert sailor.metadata == {}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("city=New York", "painter"),
        ("city=York", ""),
        ("city!=Rome", "painter"),
        ("city>=O", "poet"),
        ("motto=slow", "painter poet"),
        ("motto!=steady", "poet"),
        ("age=41", "painter"),
        ("age>30", "painter"),
        ("age=30..41", "painter poet"),
        ("age!=41", "poet"),
        ("age>=30.5", "painter"),
        ("height<1.8", "painter"),
        ("height!=3", "painter poet"),
        ("active=true", "painter"),
        ("active!=true", "poet"),
        ("born=1980", "painter"),
        ("born=1980-05", "painter"),
        ("born>1980", "poet"),
        ("born=1980..1990", "painter poet"),
        ("born!=1990-01-01", "painter"),
        (f"badge={UUID(int=5)}", "painter"),
        (f"badge!={UUID(int=5)}", "poet"),
        ("tags=red", "painter"),
        ("tags!=red", "poet"),
        ("scores>2", "poet"),
        ("scores!=2", "poet"),
        ("age=x", ""),
        ("age!=x", "painter poet"),
        ("address=x", ""),
        ("nothing=x", ""),
    ],
)
def test_filters_on_each_type(person: Store, where: str, expected: str) -> None:
    hits = found(person, "rain", "bm25", where)
    assert sorted(hit.passage.split()[1] for hit in hits) == expected.split()


def test_a_filter_that_weaviate_cannot_answer_is_a_sentence(person: Store) -> None:
    with pytest.raises(InputError, match="stop words"):
        found(person, "rain", "bm25", "motto=the")
    with pytest.raises(InputError, match="'secret': the class keeps no index of it"):
        found(person, "rain", "bm25", "secret=7")
    assert "secret" not in person.fields()
    assert person.fields()["born"] == {"text", "number"}


def test_a_document_is_an_object(person: Store) -> None:
    listed = list(person.documents())
    assert len(listed) == person.describe().documents == 3
    assert {one.id for one in listed} == set(person.ids())
    for one in listed:
        document = person.get(one.id)
        assert document is not None
        assert document.passages[0].text.endswith("of rain")
    behind = list(person.documents(listed[0].id))
    assert behind == listed[1:]
    for absent in ("not a uuid", str(UUID(int=9))):
        with pytest.raises(InputError, match=r"no document .* to go on after"):
            person.documents(absent)
    assert person.get("not a uuid") is None
    assert person.get(str(UUID(int=9))) is None


def test_objects_that_lack_a_title_or_a_text(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    there = others.collections.create(
        name,
        vector_config=Configure.Vectors.text2vec_transformers(),
        properties=[
            Property(name="headline", data_type=DataType.TEXT),
            Property(name="paragraphs", data_type=DataType.TEXT_ARRAY),
            Property(name="caption", data_type=DataType.TEXT),
            Property(name="year", data_type=DataType.INT),
        ],
    )
    there.data.insert_many(
        [
            {"headline": "Rain", "paragraphs": ["It rained.", "It stopped."]},
            {"paragraphs": ["Only rain"]},
            {"headline": "Only a headline on rain", "paragraphs": []},
            {"caption": "A picture of rain", "year": 2020},
            {"year": 2021},
        ]
    )
    store = opened(text_properties="paragraphs")
    passages = {(one.title, one.passage) for one in found(store, "rain", "near_text")}
    assert passages == {
        ("Rain", "It rained.\n\nIt stopped."),
        ("", "Only rain"),
        ("Only a headline on rain", "Only a headline on rain"),
        ("", "A picture of rain"),
        ("", ""),
    }
    assert len(list(store.documents())) == 5


def test_an_empty_class(others: weaviate.WeaviateClient, name: str, opened: Open) -> None:
    title = [Property(name="title", data_type=DataType.TEXT)]
    there = others.collections.create(name, properties=title)
    store = opened()
    for mode in ("hybrid", "near_text", "bm25"):
        assert found(store, "anything", mode) == []
    assert store.describe().documents == 0
    assert list(store.documents()) == []
    there.data.insert({"title": "anything"}, vector=HashedWords().encode_query("anything").tolist())
    assert found(store, "anything", "near_text")[0].passage == "anything"


def test_a_class_without_text(others: weaviate.WeaviateClient, name: str, opened: Open) -> None:
    others.collections.create(
        name,
        properties=[
            Property(name="price", data_type=DataType.NUMBER),
            Property(name="code", data_type=DataType.UUID),
        ],
    )
    with pytest.raises(StoreError, match=r"no text to search: its properties are price \(number\)"):
        opened()


def test_a_class_without_an_index_of_words(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    text = Property(name="text", data_type=DataType.TEXT, index_searchable=False)
    there = others.collections.create(
        name, vector_config=Configure.Vectors.text2vec_transformers(), properties=[text]
    )
    there.data.insert_many([{"text": "rain falls"}, {"text": "sun shines"}])
    store = opened()
    assert [one.cosine is not None for one in found(store, "rain")] == [True, True]
    assert "found by vectors alone" in notes(store)
    with pytest.raises(StoreError, match=r"cannot be searched by BM25.*set retrieval to near_text"):
        found(store, "rain", "bm25")


def test_a_provider_s_missing_key_is_named(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    others.collections.create(
        name,
        vector_config=Configure.Vectors.text2vec_openai(),
        properties=[Property(name="text", data_type=DataType.TEXT)],
    )
    with pytest.raises(
        StoreUnavailable, match=r"wants a key .*weaviate.headers=\{X-OpenAI-Api-Key"
    ):
        found(opened(), "rain")
    assert found(opened(), "rain", "bm25") == []


def test_a_vectorizer_that_embeds_no_text(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    definition = {
        "class": name,
        "vectorizer": "ref2vec-centroid",
        "moduleConfig": {"ref2vec-centroid": {"referenceProperties": ["likes"]}},
        "properties": [{"name": "text", "dataType": ["text"]}],
    }
    there = others.collections.create_from_dict(definition)
    there.data.insert({"text": "rain falls"})
    store = opened()
    assert "its ref2vec-centroid embeds no text" in notes(store)
    assert [one.passage for one in found(store, "rain")] == ["rain falls"]


# --- never written to


def test_nothing_writes_to_it(
    others: weaviate.WeaviateClient,
    server: Server,
    name: str,
    opened: Open,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = others.collections.create(
        name, properties=[Property(name="text", data_type=DataType.TEXT)]
    )
    identity = there.data.insert({"text": "rain falls"})
    before = schema_of(server, name)
    store = opened()
    assert not store.describe().writable
    for write in (
        lambda: store.put([entry("a", "one")]),
        lambda: store.move({"a": Source("f")}),
        lambda: store.delete([str(identity)]),
        lambda: store.stored(["a"]),
        store.check,
        store.repair,
    ):
        with pytest.raises(StoreError, match=r"was made by others.*--set weaviate.collection=NAME"):
            write()
    with pytest.raises(StoreError, match="was made by others"):
        opened(create=True)
    (tmp_path / "a.txt").write_text("some words", encoding="utf-8")
    flags = [f"--set={key}={value}" for key, value in server.flags.items()]
    flags += [f"--set=weaviate.collection={name}", "--store", str(tmp_path / "s.db")]
    assert ingest([str(tmp_path / "a.txt"), *flags, "--quiet"]) == 1
    assert ingest([str(tmp_path / "a.txt"), *flags, "--dry-run", "--quiet"]) == 1
    assert ingest(["--verify", *flags]) == 1
    assert two_stage(["delete", str(identity), "--yes", *flags]) == 1
    said = capsys.readouterr().err
    assert said.count("was made by others") == 4
    assert "Traceback" not in said
    assert schema_of(server, name) == before
    assert there.aggregate.over_all(total_count=True).total_count == 1


def test_a_key_that_may_only_read_is_enough(make_weaviate: Maker) -> None:
    """So nothing is written on the way, either."""
    own = make_weaviate(
        {
            "ASYNC_INDEXING": "false",
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
            "AUTHENTICATION_APIKEY_ENABLED": "true",
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS": "owners,readers",
            "AUTHENTICATION_APIKEY_USERS": "owner,reader",
            "AUTHORIZATION_ADMINLIST_ENABLED": "true",
            "AUTHORIZATION_ADMINLIST_USERS": "owner",
            "AUTHORIZATION_ADMINLIST_READONLY_USERS": "reader",
        }
    )
    own.start()
    own.wait()
    vector = HashedWords().encode_query("rain falls").tolist()
    with weaviate.connect_to_local(
        *own.server.rest,
        grpc_port=own.server.grpc_port,
        skip_init_checks=True,
        auth_credentials=Auth.api_key("owners"),
    ) as owner:
        tenants = Configure.multi_tenancy(enabled=True, auto_tenant_creation=True)
        article = owner.collections.create("Article", multi_tenancy_config=tenants)
        article.with_tenant("a").data.insert({"title": "Rain", "body": "rain falls"}, vector=vector)
    settings = settings_of(own.server, "Article", api_key="readers", tenant="a")
    with closing(open_store(settings, embedder=HashedWords())) as store:
        for mode in ("hybrid", "near_text", "bm25"):
            (hit,) = found(store, "rain", mode)
            assert (hit.title, hit.passage) == ("Rain", "rain falls")
        (listed,) = store.documents()
        assert store.get(listed.id) is not None
        assert store.describe().documents == 1
    with pytest.raises(StoreUnavailable, match="does not let us in"):
        open_store(settings_of(own.server, "Article", api_key="strangers"))


def schema_of(server: Server, name: str) -> Any:
    with urllib.request.urlopen(f"{server.url}/v1/schema/{name}") as answer:
        return json.load(answer)


def test_a_class_of_ours_is_still_ours(opened: Open) -> None:
    ours = opened(create=True, vectorizer="none")
    assert isinstance(ours, WeaviateStore)
    assert ours.put([entry("a", "rain falls", title="Rain")]) == []
    again = opened(vectorizer="none")
    assert isinstance(again, WeaviateStore)
    assert [one.document_id for one in found(again, "rain")] == ["a"]
    assert again.describe().notes == ()
    assert again.describe().writable


def test_a_class_that_is_not_there_is_an_error_that_names_those_that_are(
    others: weaviate.WeaviateClient, name: str, opened: Open
) -> None:
    others.collections.create(name)
    with pytest.raises(StoreMissing, match=rf"no class 'Missing' yet \(it has .*{name}.*\): run"):
        opened(collection="Missing")


# --- many and long


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


# --- with the real models, as a user does it


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
