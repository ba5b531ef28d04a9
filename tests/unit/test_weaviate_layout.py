"""How a class that others made is read: its properties, vectors and filters, from its schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from weaviate.collections.classes.filters import FilterReturn, _FilterAnd, _FilterValue

from search.errors import ConfigError, InputError, StoreError
from search.filters import parse_filters
from search.store.weaviate.foreign.conditions import filter_of
from search.store.weaviate.foreign.layout import Layout, layout_of
from search.store.weaviate.foreign.vectors import VectorSpace, choose, vectors_of
from search.types import Condition


def definition(name: str = "Article", /, **properties: str) -> dict[str, Any]:
    """A class with properties of these types; `text:field` is text of that tokenization."""
    found = []
    for known, kind in properties.items():
        spelt, _, tokenization = kind.partition(":")
        one: dict[str, Any] = {"name": known, "dataType": [spelt]}
        if spelt.startswith("text"):
            one |= {"tokenization": tokenization or "word", "indexSearchable": True}
        found.append(one)
    return {"class": name, "properties": found or None}


def read(**properties: str) -> str:
    return str(layout_of(definition(**properties)))


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        # The quickstarts' own classes.
        (
            {"category": "text", "question": "text", "answer": "text"},
            "title=question, text=answer",
        ),
        (
            {"title": "text", "description": "text", "genre": "text"},
            "title=title, text=description",
        ),
        (
            {"title": "text", "url": "text", "wordCount": "int", "summary": "text"},
            "title=title, text=summary",
        ),
        (
            {"country": "text", "points": "int", "review_body": "text", "title": "text"},
            "title=title, text=review_body",
        ),
        (
            {"title": "text", "overview": "text", "vote_average": "number"},
            "title=title, text=overview",
        ),
        (
            {"chapter_title": "text", "chunk": "text", "chunk_index": "int"},
            "title=chapter_title, text=chunk",
        ),
        ({"name": "text"}, "title=none, text=name"),
        # Frameworks'.
        ({"text": "text", "source": "text"}, "title=none, text=text"),
        # Other spellings, and texts that come in parts.
        ({"bookTitle": "text", "articleBody": "text"}, "title=bookTitle, text=articleBody"),
        ({"Headline": "text", "paragraphs": "text[]"}, "title=Headline, text=paragraphs"),
        ({"title": "text[]", "body": "text[]"}, "title=none, text=body"),
        # No usual name: everything that is prose.
        ({"plot": "text", "moral": "text", "isbn": "text:field"}, "title=none, text=plot+moral"),
        ({"isbn": "text:field", "pages": "int"}, "title=none, text=isbn"),
        ({"authorName": "text", "body": "text"}, "title=none, text=body"),
        # The likeliest name wins, whatever the order.
        ({"summary": "text", "content": "text", "headline": "text", "title": "text"},
         "title=title, text=content"),
    ],
)  # fmt: skip
def test_title_and_text_are_found_by_their_usual_names(
    properties: dict[str, str], expected: str
) -> None:
    assert read(**properties) == expected


def test_what_a_user_names_is_taken() -> None:
    there = definition(headline="text", abstract="text", body="text", year="int")
    layout = layout_of(there, "year", ["abstract", "body"])
    assert str(layout) == "title=year, text=abstract+body"
    values = {"headline": "H", "abstract": "A", "body": "B", "year": 2020}
    assert layout.title_of(values) == "2020"
    assert layout.text_of(values) == "A\n\nB"
    assert layout.metadata_of(values) == {"headline": "H"}


@pytest.mark.parametrize(
    ("title", "text", "expected"),
    [
        (None, ["boddy"], "weaviate.text_properties names 'boddy', which is not there: is 'bo"),
        ("authors", [], "weaviate.title_property names 'authors', which is of type Author, and"),
        (None, ["pages"], "weaviate.text_properties names 'pages', which is of type int, and"),
    ],
)  # fmt: skip
def test_what_cannot_be_it_is_an_error_that_lists_the_properties(
    title: str | None, text: list[str], expected: str
) -> None:
    there = definition(body="text", pages="int", authors="Author")
    with pytest.raises(ConfigError, match=expected) as caught:
        layout_of(there, title, text)
    assert "its properties are body (text), pages (int), authors (Author)" in str(caught.value)


def test_a_class_without_text_is_an_error_that_lists_the_properties() -> None:
    with pytest.raises(StoreError, match=r"no text to search: its properties are n \(number\), i"):
        layout_of(definition(n="number", id2="uuid"))
    with pytest.raises(StoreError, match="class Article has no text to search: it has no prop"):
        layout_of(definition())


def test_an_object_without_a_text_is_read_by_what_else_it_has() -> None:
    layout = layout_of(definition(title="text", body="text", notes="text", code="text:field"))
    assert layout.text_of({"title": "T", "body": None, "notes": "N", "code": "C"}) == "N"
    assert layout.text_of({"title": "T", "body": "  ", "notes": None, "code": "C"}) == "T"
    assert layout.text_of({"title": None}) == ""
    assert layout.title_of({"title": None, "body": "B"}) == ""


def test_metadata_are_plain_values_and_what_is_not_primitive_is_left_alone() -> None:
    layout = layout_of(
        definition(
            body="text", tags="text[]", when="date", of="uuid", at="geoCoordinates",
            more="object", photo="blob", writer="Author", days="date[]", on="boolean", none="int",
        )
    )  # fmt: skip
    day = datetime(2020, 5, 1, tzinfo=UTC)
    found = layout.metadata_of(
        {
            "body": "B",
            "tags": ["a", "b"],
            "when": day,
            "of": UUID(int=5),
            "days": [day],
            "on": False,
            "none": None,
        }
    )
    assert found == {
        "tags": ("a", "b"),
        "when": "2020-05-01T00:00:00Z",
        "of": str(UUID(int=5)),
        "days": ("2020-05-01T00:00:00Z",),
        "on": False,
    }
    assert list(layout.properties) == ["body", "tags", "when", "of", "days", "on", "none"]


# --- vectors


def named(**vectors: tuple[str, list[str]]) -> dict[str, Any]:
    """A class whose named vectors have these vectorizers, made from these properties."""
    configs = {
        name: {
            "vectorizer": {module: {"properties": sources} if sources else {}},
            "vectorIndexConfig": {"distance": "cosine"},
        }
        for name, (module, sources) in vectors.items()
    }
    return definition(title="text", body="text") | {"vectorConfig": configs}


def chosen(there: dict[str, Any], wanted: str | None = None) -> VectorSpace | None:
    return choose(vectors_of(there), wanted, layout_of(there), "Article")


def test_an_unnamed_vector_is_the_class_s_one() -> None:
    there = definition(body="text") | {
        "vectorizer": "text2vec-openai",
        "vectorIndexType": "hnsw",
        "vectorIndexConfig": {"distance": "l2-squared"},
        "moduleConfig": {"text2vec-openai": {"vectorizeClassName": True}},
    }
    space = chosen(there)
    assert space == VectorSpace(None, "text2vec-openai", "l2-squared", (), False, True)
    assert space is not None
    assert space.embeds_text
    assert not space.gives_cosines
    assert space.score(0.25) == -0.25


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ({"only": ("none", [])}, "only"),
        ({"default": ("none", []), "other": ("text2vec-openai", [])}, "default"),
        ({"own": ("none", []), "theirs": ("text2vec-cohere", [])}, "theirs"),
        ({"photo": ("img2vec-neural", ["p"]), "words": ("multi2vec-clip", [])}, "words"),
        ({"t": ("text2vec-openai", ["title"]), "b": ("text2vec-openai", ["body"])}, "b"),
        (
            {
                "title": ("text2vec-cohere", ["title"]),
                "title_body": ("text2vec-openai", ["title", "body"]),
                "custom_vector": ("none", []),
            },
            "title_body",
        ),
    ],
)
def test_the_obvious_vector_is_searched(
    vectors: dict[str, tuple[str, list[str]]], expected: str
) -> None:
    space = chosen(named(**vectors))
    assert space is not None
    assert space.name == expected


def test_where_no_vector_is_obvious_the_error_lists_them() -> None:
    there = named(a=("text2vec-openai", ["body"]), b=("text2vec-cohere", ["body"]))
    with pytest.raises(ConfigError, match="several vectors, and none is the obvious one") as caught:
        chosen(there)
    assert "a (text2vec-openai, cosine) from body; b (text2vec-cohere" in str(caught.value)
    assert (space := chosen(there, "b")) is not None
    assert space.vectorizer == "text2vec-cohere"
    with pytest.raises(ConfigError, match=r"vector_name is 'c', but class Article has no such"):
        chosen(there, "c")


def test_a_cosine_is_only_what_a_cosine_distance_gives() -> None:
    there = named(default=("none", []))
    index = there["vectorConfig"]["default"]["vectorIndexConfig"]
    assert vectors_of(there)[0].score(0.25) == 0.75
    index["multivector"] = {"enabled": True}
    assert not vectors_of(there)[0].gives_cosines
    assert vectors_of(there)[0].score(-3.0) == 3.0


# --- filters


TYPES = layout_of(
    definition(
        body="text", name="text:field", year="int", price="number", on="boolean", when="date",
        of="uuid", tags="text[]:field",
    )
)  # fmt: skip


def asked(*expressions: str, layout: Layout = TYPES) -> list[tuple[str, str, Any]] | None:
    """Each comparison that Weaviate is asked to make: property, operator, value."""
    found = filter_of(parse_filters(expressions), layout)
    return None if found is None else _leaves(found)


def _leaves(one: FilterReturn) -> list[tuple[str, str, Any]]:
    if isinstance(one, _FilterValue):
        value = str(one.value) if isinstance(one.value, datetime) else one.value
        return [(str(one.target), one.operator.value, value)]
    joined = [leaf for part in one.filters for leaf in _leaves(part)]  # type: ignore[attr-defined]
    return joined if isinstance(one, _FilterAnd) else [("any", "of", joined)]


def test_each_type_is_compared_as_weaviate_wants_it() -> None:
    assert asked("name=x", "year>=2020", "price<2", "on=true") == [
        ("name", "Equal", "x"),
        ("year", "GreaterThanEqual", 2020),
        ("price", "LessThan", 2.0),
        ("on", "Equal", True),
    ]
    assert asked("tags=a", "name>m") == [("tags", "Equal", "a"), ("name", "GreaterThan", "m")]
    identity = str(UUID(int=5))
    assert asked(f"of={identity}") == [("of", "Equal", identity)]


def test_a_whole_number_property_is_never_compared_with_a_fraction() -> None:
    assert asked("year>2.5") == [("year", "GreaterThanEqual", 3)]
    assert asked("year<=2.5") == [("year", "LessThanEqual", 2)]
    assert asked("year<2e3") == [("year", "LessThan", 2000)]
    assert asked("year=2.5") is None
    huge = filter_of([Condition("year", ">", 10**30)], TYPES)
    assert huge is not None
    assert _leaves(huge) == [("year", "GreaterThan", 2**63 - 1)]


def test_a_year_month_or_day_is_all_the_time_in_it() -> None:
    start, end = "2020-01-01 00:00:00+00:00", "2021-01-01 00:00:00+00:00"
    at_least, less = "GreaterThanEqual", "LessThan"
    assert asked("when=2020") == [("when", at_least, start), ("when", less, end)]
    assert asked("when=2020..2020") == [("when", at_least, start), ("when", less, end)]
    assert asked("when>2020") == [("when", at_least, end)]
    assert asked("when<2020-12") == [("when", less, "2020-12-01 00:00:00+00:00")]
    assert asked("when<=2020-12") == [("when", less, end)]
    assert asked("when<=2020-12-31") == [("when", less, end)]
    assert asked("when>=2020-05-01T12:00:00+02:00") == [
        ("when", at_least, "2020-05-01 12:00:00+02:00")
    ]
    for wrong in ("when=soon", "when=2020-13", "when=3.5"):
        with pytest.raises(InputError, match="it is a date, and"):
            asked(wrong)


def test_what_nothing_can_match_is_not_asked() -> None:
    for expression in ("year=x", "name=3", "nothing=1", "nothing!=1", "of=x", "on=1", "when=true"):
        assert asked(expression) is None, expression
    assert asked("name=x", "year=x") is None


def test_unequal_asks_whether_the_object_has_the_property() -> None:
    assert asked("name!=x") == [("name", "Like", "*"), ("name", "NotEqual", "x")]
    assert asked("year!=x") == [("year", "GreaterThanEqual", -(2**63))]
    knows_null = layout_of(
        definition(body="text", year="int") | {"invertedIndexConfig": {"indexNullState": True}}
    )
    assert asked("year!=3", layout=knows_null) == [
        ("year", "IsNull", False),
        ("year", "NotEqual", 3),
    ]


def test_an_order_that_weaviate_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="'body': it is text that the class cuts into words"):
        asked("body>m")
    with pytest.raises(InputError, match="'on': it is true or false"):
        asked("on>true")


def test_a_property_without_an_index_is_no_field_to_filter_on() -> None:
    there = definition(body="text", year="int")
    there["properties"][1] |= {"indexFilterable": False, "indexRangeFilters": False}
    layout = layout_of(there)
    assert list(layout.kinds()) == ["body"]
    with pytest.raises(InputError, match="'year': the class keeps no index of it"):
        filter_of(parse_filters(["year=3"]), layout)
    there["properties"][1]["indexRangeFilters"] = True
    assert list(layout_of(there).kinds()) == ["body", "year"]
