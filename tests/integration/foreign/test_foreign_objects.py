"""What objects of others' classes are made of: metadata, filters, titles, texts, vectorizers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import weaviate
from foreign_classes import Open, found, notes, settings_of
from store_support import HashedWords
from weaviate.classes.config import Configure, DataType, Property, Tokenization
from weaviate_nodes import Server

from search.errors import InputError, StoreError, StoreUnavailable
from search.store import Store
from search.store.open import open_store


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
