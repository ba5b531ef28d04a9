from __future__ import annotations

from pathlib import Path

import pytest
from fakes import ListStore, TableReranker, candidate
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, pre_tokenizers

import config
from search.models.scripts import read_by
from search.models.tokens import Tokenizer
from search.rerank import Blend
from search.rerank.checkpoint import BUNDLED
from search.rerank.provider import RerankerProvider
from search.searcher import Searcher

FOREIGN = {
    "профилактика болезней сердца": "Cyrillic letters",
    "الوقاية من أمراض القلب": "Arabic letters",
    "如何预防心脏病": "Chinese characters",
    "心臓病を予防する方法": "Chinese characters",
    "हृदय रोग से बचाव": "Devanagari letters",
    "πρόληψη καρδιακών παθήσεων": "Greek letters",
    "심장병 예방": "Hangul letters",
    "ป้องกันโรคหัวใจ": "Thai letters",
    "COVID-19 профилактика": "Cyrillic letters",
    "2018年10月": "Chinese characters",
    "iPhone 电池更换": "Chinese characters",
    "β-адреноблокаторы": "Cyrillic letters",
    "😀🍎": "signs unknown to it",
}
READABLE = [
    "how to prevent heart disease",
    "Vorbeugung für Herzkrankheiten",
    "naïve café résumé – “quoted” …",
    "Tiếng Việt phòng bệnh tim",
    "x² + y² = z², ∫ sin(x) dx ≤ π",
    'def f(x): return {"key": [x, 0.5e-3]}  # 100 €',
    "2018 2019 № 5",
    "films of Studio Ghibli by 宮崎 駿",
    "α-synuclein and β-amyloid in Alzheimer’s disease",
    "heart attack 😀",
    "heart disease Сердце",
    "Who was Достоевский?",
    "β",
    "TGF β",
    "?!",
]


@pytest.fixture(scope="module")
def english() -> Tokenizer:
    return Tokenizer(BUNDLED)


@pytest.mark.parametrize("query", FOREIGN)
def test_the_bundled_english_model_does_not_read(english: Tokenizer, query: str) -> None:
    """It has each letter of Cyrillic and 488 Chinese characters, but no words of them."""
    assert english.unreadable(query) == FOREIGN[query]


@pytest.mark.parametrize("query", READABLE)
def test_the_bundled_english_model_reads(english: Tokenizer, query: str) -> None:
    assert english.unreadable(query) is None


def test_a_vocabulary_with_words_of_a_script_reads_it() -> None:
    letters = [chr(code) for code in range(ord("а"), ord("я") + 1)]
    words = [a + b for a in letters[:15] for b in letters[:15]]
    characters = [chr(0x4E00 + i) for i in range(2500)]
    assert read_by([*letters, "heart"]) == {"LATIN"}
    assert read_by(["heart", *words]) == {"LATIN", "CYRILLIC"}
    assert read_by(characters[:500]) == {"LATIN"}
    assert read_by(characters) == {"LATIN", "CJK"}


def test_a_vocabulary_spelt_in_bytes_is_read_as_text(tmp_path: Path) -> None:
    """GPT-2's kind writes "при" as "ÐŀÑĢÐ¸"."""
    letters = [chr(code) for code in range(ord("а"), ord("я") + 1)]
    words = [a + b for a in letters[:15] for b in letters[:15]]
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    spelt = [splitter.pre_tokenize_str(word)[0][0] for word in words]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*alphabet, *spelt])}
    library = Library(models.BPE(vocabulary, []))
    library.pre_tokenizer, library.decoder = splitter, decoders.ByteLevel()
    library.save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer(tmp_path).unreadable("профилактика болезней") is None
    assert Tokenizer(tmp_path).unreadable("如何预防心脏病") == "Chinese characters"


QUERY = "профилактика"


def searcher(store: ListStore, reads: bool, loads: list[int], **flags: object) -> Searcher:
    def load() -> TableReranker:
        loads.append(1)
        return TableReranker({"one": -1.0, "two": 1.0}, Blend())

    tokenizer = None if reads else Tokenizer(BUNDLED)
    provider = RerankerProvider(load, tokenizer=lambda: tokenizer)
    return Searcher(store, provider, config.load(flags, files=[]))


def found() -> ListStore:
    return ListStore([candidate("a", "one", 2.0, 1), candidate("b", "two", 1.0, 2)])


def test_what_neither_model_reads_is_answered_by_bm25_and_says_so() -> None:
    store = found()
    loads: list[int] = []
    store.foreign = "Cyrillic letters"
    ranking = searcher(store, False, loads, gate=0.0).search(QUERY)
    assert store.modes == ["bm25"]
    assert loads == [], "the reranker is loaded for nothing"
    assert [hit.id for hit in ranking.hits] == ["a", "b"]
    assert [hit.probability for hit in ranking.hits] == [None, None]
    assert (ranking.reranked, ranking.failed) == (False, False)
    reason = "the reranker bundled cannot read this query (Cyrillic letters)"
    assert (ranking.reason, ranking.cause) == (reason, "unreadable")
    assert "found by BM25 alone" in ranking.notes[0]


def test_a_reranker_that_reads_it_ranks_what_bm25_found() -> None:
    store = found()
    store.foreign = "Cyrillic letters"
    ranking = searcher(store, True, []).search(QUERY)
    assert store.modes == ["bm25"]
    assert ranking.reranked
    assert [hit.id for hit in ranking.hits] == ["b", "a"]
    assert "found by BM25 alone" in ranking.notes[0]


def test_vectors_that_say_something_are_used_without_the_reranker() -> None:
    store = found()
    ranking = searcher(store, False, []).search(QUERY)
    assert store.modes == ["hybrid"]
    assert (ranking.reranked, ranking.notes) == (False, ())
    assert "cannot read" in str(ranking.reason)


def test_nothing_is_noted_where_nothing_changed() -> None:
    store = found()
    store.foreign = "Cyrillic letters"
    ranking = searcher(store, False, [], retrieval="bm25", rerank=False).search(QUERY)
    assert (ranking.reason, ranking.notes) == ("reranking is switched off", ())
