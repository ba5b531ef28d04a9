"""Queries that the bundled models cannot read, or not to their end, through the real store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import config
from search import Searcher
from search.store.open import open_store
from search.types import Document, Entry, Passage

TEXTS = {
    "ru": "Профилактика болезней сердца: движение и здоровое питание.",
    "ar": "الوقاية من أمراض القلب تبدأ بالغذاء الصحي والحركة.",
    "zh": "如何预防心脏病：运动和健康饮食。",
    "ja": "心臓病を予防する方法は運動と食事です。",
    "hi": "हृदय रोग से बचाव के लिए व्यायाम और आहार।",
    "el": "Πρόληψη καρδιακών παθήσεων με άσκηση και διατροφή.",
    "de": "Vorbeugung gegen Herzkrankheiten: Bewegung und gesunde Ernährung.",
    "en": "Exercise and a healthy diet prevent heart disease.",
}
QUERIES = {
    "ru": "профилактика болезней сердца",
    "ar": "الوقاية من أمراض القلب",
    "zh": "预防心脏病",
    "ja": "心臓病を予防",
    "hi": "हृदय रोग से बचाव",
    "el": "πρόληψη καρδιακών παθήσεων",
}


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searcher]:
    path: Path = tmp_path_factory.mktemp("scripts") / "s.db"
    settings = config.load({"store": path, "device": "cpu"}, {}, [])
    with closing(open_store(settings, create=True)) as store:
        store.put(
            [Entry(Document(i, "", text), (Passage(text),), "1") for i, text in TEXTS.items()]
        )
    with Searcher.from_settings(settings) as opened:
        yield opened


@pytest.mark.parametrize("language", QUERIES)
def test_the_document_in_that_script_is_found_by_its_words(
    searcher: Searcher, language: str
) -> None:
    ranking = searcher.search(QUERIES[language])
    assert ranking.hits[0].id == language
    assert [hit.probability for hit in ranking.hits] == [None] * len(ranking.hits)
    assert all(hit.candidate.cosine is None for hit in ranking.hits)
    assert (ranking.reranked, ranking.failed) == (False, False)
    assert "cannot read this query" in str(ranking.reason)
    assert "found by BM25 alone: the embedding model all-MiniLM-L6-v2" in ranking.notes[0]


@pytest.mark.parametrize("query", ["Vorbeugung gegen Herzkrankheiten", "heart disease Сердце"])
def test_what_is_mostly_latin_goes_on_as_ever(searcher: Searcher, query: str) -> None:
    ranking = searcher.search(query)
    assert ranking.reranked
    assert ranking.notes == ()


def test_a_query_too_long_for_the_reranker_is_reranked_by_its_beginning(
    searcher: Searcher,
) -> None:
    asked = "how can heart disease be prevented "
    story = "my uncle had it and we talked about it for a long time on the train " * 30
    ranking = searcher.search(asked + story)
    assert ranking.hits[0].id == "en"
    assert (ranking.reranked, ranking.reason) == (True, None)
    (note,) = ranking.notes
    assert "are not in its vector; the reranker read its first 1," in note
