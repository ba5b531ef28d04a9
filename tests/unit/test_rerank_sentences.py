from __future__ import annotations

from search.rerank.sentences import best_sentences, sentences_of

TWO = "The heart is a muscle that pumps. Walk daily to prevent disease."
LIST = "Contents:\n\nPrevention of heart disease. Walk. Do not smoke any cigars, e.g. these. No"


def texts(passage: str) -> list[str]:
    return [passage[start:end] for _, (start, end) in sentences_of([passage], "en")]


def test_sentences_without_the_space_around_them() -> None:
    assert texts(TWO) == ["The heart is a muscle that pumps.", "Walk daily to prevent disease."]


def test_short_pieces_go_with_their_neighbours_and_abbreviations_do_not_end_a_sentence() -> None:
    assert texts(LIST) == [
        "Contents:\n\nPrevention of heart disease.",
        "Walk. Do not smoke any cigars, e.g. these. No",
    ]


def test_characters_are_counted_not_bytes() -> None:
    passage = "Ça va bien – naïve café owners smile. 心臓病を予防するには歩く。禁煙も大切です。"
    assert texts(passage) == [
        "Ça va bien – naïve café owners smile.",
        "心臓病を予防するには歩く。",
        "禁煙も大切です。",
    ]


def test_a_single_sentence_is_not_scored_and_is_its_own_best() -> None:
    passages = ["Only one sentence stands here.", TWO, ""]
    sentences = sentences_of(passages, "en")
    assert {number for number, _ in sentences} == {1}
    best = best_sentences(sentences, [0.1, 0.9], passages)
    assert best == [(0, 30), (34, 64), None]


def test_a_passage_whose_sentences_were_not_all_read_has_none() -> None:
    passages = [TWO, TWO]
    best = best_sentences(sentences_of(passages, "en"), [0.9, 0.1, 0.5], passages)
    assert best == [(0, 33), None]
