"""What a hit shows: its best window, the sentence that decides, and what else has the passage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from fakes import ListStore, TableReranker, candidate
from searcher_bench import FOUND, LOGITS, PLAIN, ids, searcher

import config
from search.order import fold
from search.rerank import Scored
from search.rerank.provider import RerankerProvider
from search.searcher import Searcher


def test_of_a_passage_read_in_windows_the_winning_one_is_shown() -> None:
    reranker = TableReranker(LOGITS, PLAIN)
    reranker.span = lambda text: (len(text) - 4, len(text))  # type: ignore[method-assign]
    assert searcher(lambda: reranker).search("q").hits[0].candidate.passage == "tion"


def test_one_passage_in_two_documents_is_one_hit_that_names_the_other() -> None:
    copy = replace(FOUND[3], document_id="copy", score=0.5, rank=5)
    found = Searcher(
        ListStore([FOUND[0], FOUND[3], copy]),
        RerankerProvider(lambda: TableReranker(LOGITS, PLAIN)),
        config.load(files=[]),
    ).search("q")
    assert ids(found) == ["heart", "surgery"]
    assert [other.document_id for other in found.hits[0].also_in] == ["copy"]
    assert len(found.before) == 2
    assert found.scored == 2


def test_two_short_passages_are_the_same_only_under_the_same_title() -> None:
    """Two questions that have the same answer are two hits."""
    trunk = replace(candidate("trunk", "An elephant", 0.9, 1), title="Which animal has a trunk?")
    tusks = replace(candidate("tusks", "An elephant", 0.8, 2), title="Which animal has tusks?")
    again = replace(tusks, document_id="again")
    kept, copies = fold([trunk, tusks, again])
    assert [one.document_id for one in kept] == ["trunk", "tusks"]
    assert copies == {("tusks", 0): [again]}
    long = "All that there is to say about elephants in one sentence"
    kept, _ = fold([replace(trunk, passage=long), replace(tusks, passage=long)])
    assert [one.document_id for one in kept] == ["trunk"]


def test_a_hit_carries_its_documents_other_passages() -> None:
    guide = searcher().search("q").hits[1]
    (other,) = guide.passages
    assert other.candidate.passage == "index"
    assert other.score == pytest.approx(1 / (1 + math.exp(1)))


class Words(TableReranker):
    """A text's logit is the number of words that it shares with the query."""

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        self.calls += 1
        return [Scored(len({*q.split()} & {*t.split()}), (0, len(t))) for q, t in pairs]


PASSAGE = "The heart is a muscle that pumps blood. Walk daily to prevent heart disease, they say."


def test_the_sentence_that_decides_is_marked() -> None:
    words = Words({}, PLAIN)
    store = ListStore([candidate("guide", PASSAGE, 0.9, 1)])
    shared = Searcher(store, RerankerProvider(lambda: words), config.load(files=[]))
    (hit,) = (ranking := shared.search("how to prevent heart disease")).hits
    assert hit.highlight is not None
    assert PASSAGE[slice(*hit.highlight)].startswith("Walk daily to prevent")
    assert "highlight" in ranking.timings_ms
    calls = words.calls
    off = shared.search("how to prevent heart disease", highlight=False)
    assert off.hits[0].highlight is None
    assert "highlight" not in off.timings_ms
    assert words.calls == calls + 1


def test_an_order_stands_when_its_sentences_cannot_be_scored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Breaks(Words):
        def score_pairs(
            self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
        ) -> list[Scored]:
            if self.calls == 1:
                raise IndexError("positions")
            return super().score_pairs(pairs)

    store = ListStore([candidate("guide", PASSAGE, 0.9, 1)])
    shared = Searcher(store, RerankerProvider(lambda: Breaks({}, PLAIN)), config.load(files=[]))
    ranking = shared.search("heart")
    assert ranking.reranked is True
    assert ranking.hits[0].highlight is None
    assert "IndexError: positions" in caplog.text


def test_sentences_are_looked_for_in_hits_that_may_well_answer() -> None:
    class Strict(Words):
        def score_pairs(
            self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
        ) -> list[Scored]:
            return [Scored(s.logit - 3, s.span) for s in super().score_pairs(pairs)]

    other = "Nothing of it stands here, sadly. Nor does it stand over there."
    store = ListStore([candidate("good", PASSAGE, 0.9, 1), candidate("poor", other, 0.8, 2)])
    shared = Searcher(store, RerankerProvider(lambda: Strict({}, PLAIN)), config.load(files=[]))
    good, poor = shared.search("to prevent heart disease, daily").hits
    assert good.highlight is not None
    assert poor.highlight is None
