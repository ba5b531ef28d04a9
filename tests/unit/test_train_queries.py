"""Queries made and reworded: what they say, what they leave out of the passages, and how many."""

from __future__ import annotations

import random

import pytest

from search.types import Document
from training.corpus import TrainingSet
from training.phrasing import keywords, ramble, reword, sentences
from training.queries import labelled, made

PROSE = (
    "Migraine is a headache that returns and that often comes with nausea and light sensitivity. "
    "Regular sleep and regular meals make attacks rarer in most of the people who have them. "
    "Triptans taken early stop an attack, and preventive drugs are given when attacks are frequent."
)


def a_set(questions: int = 3, documents: int = 6, **metadata: object) -> TrainingSet:
    return TrainingSet(
        name="toy",
        documents={f"d{i}": Document(f"d{i}", f"Topic {i}", PROSE) for i in range(documents)},
        queries={f"q{i}": f"What is topic {i}?" for i in range(questions)},
        metadata={f"q{i}": metadata for i in range(questions)},
        qrels={f"q{i}": {f"d{i % documents}": 1, "absent": 1} for i in range(questions)},
    )


def test_keywords_drop_stop_words_but_never_the_whole_question() -> None:
    assert keywords("How can I prevent heart disease?") == "prevent heart disease"
    assert keywords("what is it") == "what is it"


def test_a_rambling_query_still_holds_the_question() -> None:
    text = ramble("Is gout painful?", random.Random(1))
    assert "Is gout painful?" in text
    assert len(text) > 2 * len("Is gout painful?")


def test_rewording_names_the_topic_without_its_brackets() -> None:
    text = reword("Atrial Fibrillation (AFib)", "prevention", random.Random(3))
    assert text is not None
    assert "atrial fibrillation" in text.lower()
    assert "AFib" not in text
    assert reword("Gout", "etymology", random.Random(3)) is None


def test_labelled_queries_name_only_documents_that_are_there() -> None:
    examples = list(labelled(a_set(), limit=10, draw=random.Random(0)))
    assert sorted(e.relevant for e in examples) == [("d0",), ("d1",), ("d2",)]


def test_one_question_a_document_where_questions_abound() -> None:
    examples = list(labelled(a_set(questions=30), limit=100, draw=random.Random(0)))
    assert len(examples) == 6
    assert len({e.relevant for e in examples}) == 6


def test_no_aspect_takes_more_than_its_share() -> None:
    data = a_set(questions=60, documents=60, qtype="symptoms", focus="gout")
    assert len(list(labelled(data, limit=30, draw=random.Random(0)))) == 5


def test_a_sentence_query_is_cut_out_of_its_passage() -> None:
    examples = list(made(list(a_set(documents=80).documents.values()), 80, random.Random(0)))
    by_kind = {e.kind for e in examples}
    assert by_kind == {"title", "sentence", "keywords"}
    for one in examples:
        assert one.cut == (one.query if one.kind == "sentence" else "")
        assert one.titles == "none" or one.kind != "title"


def test_sentences_are_neither_crumbs_nor_pages() -> None:
    assert len(sentences(PROSE)) == 3
    assert sentences("Short. Also short.") == []


@pytest.mark.parametrize(
    ("written", "read"),
    [(None, ()), ("Berlin", ("Berlin",)), (["a", "", 3], ("a", "3")), ([], ())],
)
def test_answers_may_be_written_in_several_ways(written: object, read: tuple[str, ...]) -> None:
    [example, *_] = labelled(a_set(answers=written), limit=3, draw=random.Random(0))
    assert example.answers == read
