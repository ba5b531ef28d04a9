"""What is left unread, and what an answer says of it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from fakes import ListStore, TableReranker, candidate

import config
from search.order import log_odds_of, most_likely_first
from search.rerank import Blend
from search.rerank.blend import Formula, sigmoid
from search.rerank.provider import RerankerProvider
from search.searcher import Searcher
from search.stages import FIRST_READ, NEXT_READ
from search.types import Ranking

BLEND = Blend((Formula(-1.0, {"logit": 1.0, "fused": 10.0}),))


def search(
    fused: list[float], logits: list[float], model: Blend = BLEND, **flags: object
) -> Ranking:
    """One document for each pair of numbers, found in this order."""
    found = [candidate(f"d{i}", f"text {i}", score, i + 1) for i, score in enumerate(fused)]
    reranker = TableReranker({f"text {i}": logit for i, logit in enumerate(logits)}, model)
    settings = config.load({"candidates": 50, "limit": 10, **flags}, files=[])
    provider = RerankerProvider(lambda: reranker)
    return Searcher(ListStore(found), provider, settings).search("q")


FALLING = [1 - i / 50 for i in range(50)]


def test_what_would_hardly_reach_the_page_is_not_read() -> None:
    answer = search(FALLING, [0.0] * 50)
    assert answer.scored == FIRST_READ
    assert (answer.reranked, answer.reason, answer.failed) == (True, None, False)
    assert [hit.id for hit in answer.hits] == [f"d{i}" for i in range(10)]
    assert [hit.probability for hit in answer.hits[:2]] == pytest.approx([sigmoid(9), sigmoid(8.8)])
    assert [hit.id for hit in answer.before] == [f"d{i}" for i in range(10)]


def test_all_is_read_when_that_is_asked_for() -> None:
    assert search(FALLING, [0.0] * 50, early_stop=False).scored == 50


def test_reading_goes_on_while_what_is_left_may_reach_the_page() -> None:
    """Every other passage is no answer, and the first stage hardly tells them apart."""
    answer = search([1 - i / 200 for i in range(50)], [-3.0 * (i % 2) for i in range(50)])
    assert answer.scored == FIRST_READ + NEXT_READ
    assert [hit.id for hit in answer.hits] == [f"d{2 * i}" for i in range(10)]


def test_a_page_that_is_not_full_is_never_settled() -> None:
    assert search(FALLING, [0.0] * 50, limit=30).scored == 30
    assert search(FALLING, [0.0] * 50, limit=60).scored == 50
    assert len(search(FALLING, [0.0] * 50, limit=60).hits) == 50


def test_without_a_first_stage_to_go_by_all_is_read() -> None:
    assert search(FALLING, [0.0] * 50, Blend()).scored == 50
    assert search(FALLING, [0.0] * 50, blend=0).scored == 50
    assert search([0.5] * 50, [0.0] * 50).scored == 50


def test_the_likeliest_are_read_first() -> None:
    answer = search(FALLING[::-1], [0.0] * 50)
    assert answer.scored == FIRST_READ
    assert [hit.id for hit in answer.hits[:2]] == ["d49", "d48"]
    assert answer.hits[0].retrieval_rank == 50


@pytest.mark.parametrize("seed", range(20))
def test_the_page_is_that_of_full_reading_unless_an_unread_passage_beats_the_middle(
    seed: int,
) -> None:
    rng = random.Random(seed)
    fused = sorted((rng.random() for _ in range(50)), reverse=True)
    logits = [rng.gauss(-i / 10, 1.5) for i in range(50)]
    short, full = search(fused, logits), search(fused, logits, early_stop=False)
    same = [h.id for h in short.hits] == [h.id for h in full.hits]
    read = sorted(logits[: short.scored])
    middle = (read[(len(read) - 1) // 2] + read[len(read) // 2]) / 2
    assert same or max(logits[short.scored :]) > middle
    for hit in short.hits:  # where a document is in both, it has the same probability
        assert hit.probability == next(
            (h.probability for h in full.hits if h.id == hit.id), hit.probability
        )


def test_the_order_of_reading_is_that_of_the_final_score_without_the_logit() -> None:
    one, two = (
        replace(candidate(name, name, 0.5, 1), cosine=c) for name, c in (("a", 0), ("b", 1))
    )
    blend = Blend((Formula(0.0, {"logit": 1.0, "cosine": 2.0}),))
    assert most_likely_first([one, two], blend) == [two, one]
    assert log_odds_of(blend, 3.0, two) == 5.0
