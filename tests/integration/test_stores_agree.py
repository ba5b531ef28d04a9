"""The same documents in SQLite and in Weaviate give the same documents for the same question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from uuid import uuid4

import pytest
from store_support import HashedWords, entry, random_entries
from weaviate_nodes import Server

import config
from search.filters import parse_filters
from search.store import Store
from search.store.sqlite import SqliteStore
from search.store.weaviate.store import WeaviateStore
from search.types import Candidate, Condition, Entry

ODD_IDS = ["a/b c.md:3", "ид", "標題", 'say "yes"', "UPPER", "upper", "x" * 300]


def entries() -> list[Entry]:
    """Every kind of value, in lists and alone, and the same field in two kinds."""
    values = [
        {"year": 2018, "lang": "en", "open": True},
        {"year": "2018", "lang": "EN", "open": "true"},
        {"year": 2018.5, "lang": ("en", "de"), "open": False},
        {"year": -3, "tags": ("a b", "c", 7, True), "lang": "日本語"},
        {"year": 10**15, "tags": (), "na me": "x", "a.b": 1},
        {"day": "2024-02-03", "price": 1e-9, "Year": 2018},
        {},
    ]
    made = [entry(name, f"common words {i}", **values[i]) for i, name in enumerate(ODD_IDS)]
    return made + list(random_entries(120))


@pytest.fixture(scope="module")
def both(
    weaviate_server: Server,
    drop_collection: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sequence[Store]]:
    name = f"Agree{uuid4().hex[:12]}"
    flags = {"weaviate.collection": name, "weaviate.vectorizer": "none"}
    settings = config.load(weaviate_server.flags | flags)
    path = tmp_path_factory.mktemp("agree") / "store.db"
    with (
        closing(SqliteStore(path, HashedWords(), create=True)) as one,
        closing(WeaviateStore(settings, HashedWords, create=True)) as other,
    ):
        for store in (one, other):
            assert store.put(entries()) == []
        yield one, other
    drop_collection(name)


def matches(store: Store, *filters: Condition) -> set[str]:
    found = store.retrieve("common words", 400, filters, mode="near_text")
    return {one.document_id for one in found}


@pytest.mark.parametrize(
    "expression",
    [
        "year=2018", "year!=2018", "year>=2018", "year<2018", "year=2018..2019", "year=..0",
        'year="2018"', 'year!="2018"', 'year>="2"', "lang=en", "lang!=en", "lang>=en",
        "lang=日本語",
        "open=true", "open!=true", 'open="true"', "open=false", "tags=a b", "tags=7", "tags!=c",
        "tags=true", "tags>=7", "na me=x", "a.b=1", "Year=2018", "day>=2024-01-01",
        "day<2024-02-03",
        "price<1", "price>0", "absent=1", "absent!=1", "year=1000000000000000", "title=x",
    ],
)  # fmt: skip
def test_filters_let_the_same_documents_through(both: Sequence[Store], expression: str) -> None:
    one, other = (matches(store, *parse_filters([expression])) for store in both)
    assert other == one


def test_ids_lists_and_documents_are_the_same(both: Sequence[Store]) -> None:
    one, other = both
    assert sorted(other.ids()) == sorted(one.ids())
    by_id = [sorted(store.documents(), key=lambda listed: listed.id) for store in both]
    assert by_id[0] == by_id[1]
    for name in ODD_IDS:
        assert other.get(name) == one.get(name)
    assert other.stored(ODD_IDS) == one.stored(ODD_IDS)
    assert other.fields() == one.fields()


@pytest.mark.parametrize("query", ["heart disease prevention", "salt n7p1", "stroke"])
def test_nearest_come_in_the_same_order(both: Sequence[Store], query: str) -> None:
    """Passages of one score come in an order of the store's own, so they are compared as sets."""

    def groups(found: Sequence[Candidate]) -> list[set[tuple[str, int]]]:
        made: list[set[tuple[str, int]]] = []
        last = None
        for candidate in found:
            if last is None or abs(candidate.score - last) > 1e-5:
                made.append(set())
            last = candidate.score
            made[-1].add((candidate.document_id, candidate.passage_index))
        return made

    one, other = (groups(store.retrieve(query, 60, mode="near_text")) for store in both)
    assert other[:-1] == one[:-1]  # the last group is cut where the sixty end


@pytest.mark.parametrize("query", ["heart disease prevention", "salt n7p1", "stroke", "n3p1 n5p0"])
def test_the_same_passages_have_the_words(both: Sequence[Store], query: str) -> None:
    """Their order by BM25 is not the same: SQLite stems, and weighs frequent words otherwise."""
    one, other = (
        {(c.document_id, c.passage_index) for c in store.retrieve(query, 400, mode="bm25")}
        for store in both
    )
    assert other == one


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("高血压的治疗方法", "治疗"), ("高血压的治疗方法", "高"), ("心臓病を予防する", "予防"),
        ("서울에서 부산까지", "부산"),
        ("Un café à la crème", "cafe creme"), ("Ｆｕｌｌ width", "full"),
        ("The Who on stage", "the who"), ("C++ and user_id", "user id"),
    ],
)  # fmt: skip
def test_words_of_every_script_are_found(both: Sequence[Store], text: str, query: str) -> None:
    for store in both:
        assert store.put([entry("script", text)]) == []
        found = store.retrieve(query, 5, mode="bm25")
        assert "script" in {one.document_id for one in found}
        assert store.delete(["script"]) == 1
