"""Trap lists: the answer loses the query's words, forged negatives gain them."""

from __future__ import annotations

import random

from training.lists import TrainingList
from training.traps import SURE, trap_lists

ANSWER = (
    "Measles\nThe vaccine against measles is given twice in childhood and protects nearly all. "
    "Outbreaks happen where fewer than nine in ten children have had both doses of it."
)
OTHERS = (
    "Wine\nRed grapes are crushed together with their skins and left to ferment for some days. "
    "The pressed juice then rests in barrels made of oak until the following spring at least.",
    "Ships\nA container ship carries thousands of steel boxes and needs a crew of two dozen. "
    "Larger vessels burn less fuel for each box that they bring across the sea to a harbour.",
)


def a_list(query: str, negatives: int = 6) -> TrainingList:
    passages = (ANSWER, *(OTHERS[i % 2] for i in range(negatives)))
    return TrainingList(query, "labelled", passages, (1.0,) * (negatives + 1))


def test_forged_negatives_hold_the_querys_words_and_most_answers_lack_them() -> None:
    query = "measles vaccine childhood"
    made = list(trap_lists([a_list(query)] * 40, random.Random(0)))
    assert len(made) == 40
    for one in made:
        forged = [p for p in one.passages[1:] if "vaccine" in p]
        assert len(forged) == 3
        assert one.scores == (SURE, 0, 0, 0, 0, 0, 0)
    veiled = [one for one in made if "vaccine" not in one.passages[0].lower()]
    assert 15 < len(veiled) < 30  # 0.8 × 0.65 of 40 are expected


def test_an_answer_keeps_the_words_that_were_not_asked() -> None:
    made = list(trap_lists([a_list("measles vaccine childhood")] * 10, random.Random(1)))
    for one in made:
        assert "protects nearly all" in one.passages[0]
        assert not one.passages[0].startswith("Measles\n")


def test_queries_too_short_or_too_long_make_no_trap() -> None:
    long = " ".join(f"word{i}" for i in range(20))
    lists = [a_list("measles"), a_list("what is it"), a_list(long)]
    assert list(trap_lists(lists, random.Random(0))) == []
