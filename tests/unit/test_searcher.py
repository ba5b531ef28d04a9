from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fakes import ListStore, TableReranker, candidate

import config
from search.errors import CheckpointError, ConfigError, InputError
from search.order import fold
from search.rerank import Blend, Scored
from search.rerank.blend import Formula, sigmoid
from search.rerank.encoder import in_steps
from search.rerank.provider import LONGEST_WAIT, RerankerProvider
from search.searcher import Searcher
from search.types import Candidate, Condition, StoreInfo

PLAIN = Blend()
FOUND = [
    candidate("surgery", "complications", 0.9, 1),
    candidate("guide", "index", 0.8, 2),
    candidate("guide", "prevention, deep in the text", 0.7, 3, index=7),
    candidate("heart", "prevention", 0.6, 4),
]
LOGITS = {
    "complications": -4.0,
    "index": -1.0,
    "prevention, deep in the text": 2.0,
    "prevention": 3.0,
}


def searcher(
    load: Callable[[], Any] | None = None, model: Blend = PLAIN, **flags: object
) -> Searcher:
    reranker = TableReranker(LOGITS, model)
    provider = RerankerProvider(load or (lambda: reranker))
    return Searcher(ListStore(FOUND), provider, config.load(flags, files=[]))


def ids(ranking: Any) -> list[str]:
    return [hit.candidate.document_id for hit in ranking.hits]


def test_the_cross_encoder_gives_the_final_order() -> None:
    ranking = searcher().search("how to prevent heart disease")
    assert ids(ranking) == ["heart", "guide", "surgery"]
    assert ranking.reranked
    assert ranking.reason is None
    assert [hit.rank for hit in ranking.hits] == [1, 2, 3]
    assert {"retrieve", "rerank", "total"} <= set(ranking.timings_ms)


def test_a_document_ranks_by_its_best_passage_which_is_the_one_shown() -> None:
    guide = searcher().search("q").hits[1]
    assert guide.candidate.passage_index == 7
    assert guide.logit == 2.0
    assert (guide.retrieval_rank, guide.retrieval_score) == (2, 0.8)


def test_a_score_is_the_sigmoid_of_the_logit_exactly_once() -> None:
    for hit in searcher().search("q").hits:
        assert hit.logit is not None
        assert hit.score == pytest.approx(1 / (1 + math.exp(-hit.logit)))


def blend(constant: float, **weights: float) -> Blend:
    return Blend((Formula(constant, weights), Formula(0.0, {"logit": 1.0})))


def test_the_blend_adds_what_the_first_stage_says() -> None:
    model = blend(0.5, logit=2.0, fused=4.0)
    by_id = {h.candidate.document_id: h for h in searcher(model=model).search("q").hits}
    assert by_id["heart"].score == pytest.approx(1 / (1 + math.exp(-(2 * 3 + 0.5 + 4 * 0.6))))
    assert by_id["surgery"].score == pytest.approx(1 / (1 + math.exp(-(2 * -4 + 0.5 + 4 * 0.9))))


def test_a_probability_does_not_change_with_the_number_of_candidates() -> None:
    model = blend(0.5, logit=0.2, fused=4.0)
    few = {h.id: h.score for h in searcher(model=model, candidates=2).search("q").hits}
    many = {h.id: h.score for h in searcher(model=model, candidates=4).search("q").hits}
    assert few["surgery"] == many["surgery"]


def test_a_blend_setting_wins_over_the_models_own_even_when_it_is_zero() -> None:
    model = blend(0.0, logit=1.0, fused=1000.0)
    assert ids(searcher(model=model).search("q")) == ["surgery", "guide", "heart"]
    assert ids(searcher(model=model, blend=0).search("q")) == ["heart", "guide", "surgery"]
    assert ids(searcher(model=model).search("q", blend=0)) == ["heart", "guide", "surgery"]
    assert ids(searcher(model=model, blend=0).search("q", blend=None)) == ids(
        searcher(model=model).search("q")
    )


def test_a_gated_query_has_the_probabilities_of_the_first_stage() -> None:
    model = Blend((Formula(-3.0, {"fused": 10.0}), Formula(0.0, {"logit": 1.0})))
    provider = RerankerProvider(lambda: TableReranker(LOGITS, model), blend=lambda: model)
    gated = Searcher(ListStore(FOUND), provider, config.load({"gate": 2.9}, files=[]))
    ranking = gated.search("q")
    assert "3.000 ≥ gate 2.900" in (ranking.reason or "")  # in log-odds, not in scores
    assert not ranking.reranked
    expected = [1 / (1 + math.exp(3 - 10 * score)) for score in (0.9, 0.8, 0.6)]
    assert [hit.probability for hit in ranking.hits] == pytest.approx(expected)


def test_log_odds_too_large_for_a_probability_still_order() -> None:
    model = Blend((Formula(1000.0, {"logit": 100.0}),))
    ranking = searcher(model=model).search("q")
    assert ids(ranking) == ["heart", "guide", "surgery"]
    assert [hit.score for hit in ranking.hits] == [1.0, 1.0, 1.0]


def test_a_failing_reranker_leaves_the_first_stages_order_and_says_so() -> None:
    def load() -> Any:
        raise CheckpointError("model.safetensors is missing")

    ranking = searcher(load).search("q")
    assert ids(ranking) == ["surgery", "guide", "heart"]
    assert not ranking.reranked
    assert ranking.failed
    assert "model.safetensors is missing" in (ranking.reason or "")
    assert [hit.logit for hit in ranking.hits] == [None, None, None]


@pytest.mark.parametrize("fault", [IndexError("positions"), RuntimeError("x\ny"), MemoryError()])
def test_whatever_a_model_raises_leaves_the_first_stages_order_and_is_logged(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    reranker = TableReranker(LOGITS, PLAIN)
    reranker.fault = fault
    ranking = searcher(lambda: reranker).search("q")
    assert ids(ranking) == ["surgery", "guide", "heart"]
    assert ranking.failed
    assert type(fault).__name__ in (ranking.reason or "")
    assert "\n" not in (ranking.reason or "")
    assert caplog.records[0].exc_info is not None


def test_a_bug_of_ours_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*args: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr("search.stages.final_order", bug)
    with pytest.raises(RuntimeError, match="bug"):
        searcher().search("q")


def test_switched_off_is_not_a_failure() -> None:
    ranking = searcher(rerank=False).search("q")
    assert not ranking.reranked
    assert not ranking.failed
    assert ranking.reason == "reranking is switched off"


def test_the_gate_skips_the_reranker_when_the_first_stage_is_sure() -> None:
    reranker = TableReranker(LOGITS, PLAIN)
    gated = searcher(lambda: reranker, gate=0.29)  # margin of documents 1 and 3: 0.9 - 0.6
    ranking = gated.search("q")
    assert not ranking.reranked
    assert not ranking.failed
    assert "0.300 ≥ gate 0.290" in (ranking.reason or "")
    assert reranker.calls == 0
    assert searcher(lambda: reranker, gate=0.31).search("q").reranked


def test_of_a_passage_read_in_windows_the_winning_one_is_shown() -> None:
    reranker = TableReranker(LOGITS, PLAIN)
    reranker.span = lambda text: (len(text) - 4, len(text))  # type: ignore[method-assign]
    assert searcher(lambda: reranker).search("q").hits[0].candidate.passage == "tion"


def test_limit_threshold_and_the_order_before() -> None:
    ranking = searcher(limit=2).search("q")
    assert len(ranking.hits) == 2
    assert [hit.candidate.document_id for hit in ranking.before] == ["surgery", "guide"]
    assert ids(searcher(threshold=0.9).search("q")) == ["heart"]


def test_nothing_found_is_an_answer() -> None:
    provider = RerankerProvider(lambda: TableReranker({}, PLAIN))
    ranking = Searcher(ListStore([]), provider, config.load(files=[])).search("q")
    assert ranking.hits == ()
    assert not ranking.failed


@pytest.mark.parametrize("query", ["", "  \n"])
def test_an_empty_query_is_refused(query: str) -> None:
    with pytest.raises(InputError, match="empty"):
        searcher().search(query)


def test_arguments_hold_for_one_query_and_are_checked() -> None:
    shared = searcher()
    assert len(shared.search("q", limit=1).hits) == 1
    assert shared.search("q", rerank=False).reason == "reranking is switched off"
    assert not shared.search("q", gate=0.1).reranked
    assert ids(shared.search("q", threshold=0.9)) == ["heart"]
    assert len(shared.search("q").hits) == 3
    gated = searcher(gate=0.1)
    assert not gated.search("q").reranked
    assert gated.search("q", gate=None).reranked
    with pytest.raises(ConfigError, match="'limit'"):
        shared.search("q", limit=0)


def test_the_store_gets_what_the_query_asks_for() -> None:
    asked: list[tuple[Any, ...]] = []

    class Recording(ListStore):
        def retrieve(self, *arguments: Any, **named: Any) -> list[Candidate]:
            asked.append(arguments)
            return super().retrieve(*arguments, **named)

    provider = RerankerProvider(lambda: TableReranker(LOGITS, PLAIN))
    filters = (Condition("language", "=", "en"),)
    Searcher(Recording(FOUND), provider, config.load(files=[])).search(
        "q", filters=filters, candidates=2, retrieval="bm25", alpha=0.9
    )
    assert asked == [("q", 2, filters, "bm25", 0.9)]


class Slow(TableReranker):
    """Each passage takes its time."""

    def score_pairs(
        self, pairs: Sequence[tuple[str, str]], seconds: float | None = None
    ) -> list[Scored]:
        return self.score(pairs) if seconds is None else in_steps(self.score, pairs, seconds)

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Scored]:
        time.sleep(0.01 * len(pairs))
        return [Scored(float(text.splitlines()[-1]), (0, len(text))) for _, text in pairs]


MANY = [candidate(f"d{i}", str(i), 1 - i / 100, i + 1) for i in range(50)]


def test_what_is_scored_in_time_is_reranked_and_the_rest_follows() -> None:
    provider = RerankerProvider(lambda: Slow({}, PLAIN))
    slow = Searcher(
        ListStore(MANY), provider, config.load({"limit": 50, "candidates": 50}, files=[])
    )
    slow.search("load the model", deadline_ms=None)
    ranking = slow.search("q", deadline_ms=250)
    assert ranking.reranked == "partial"
    assert not ranking.failed
    assert 8 <= ranking.scored < 50
    assert f"after {ranking.scored} of 50 passages" in (ranking.reason or "")
    n = ranking.scored
    assert ids(ranking) == [f"d{i}" for i in (*reversed(range(n)), *range(n, 50))]
    assert [hit.logit is None for hit in ranking.hits] == [False] * n + [True] * (50 - n)
    assert [hit.rank for hit in ranking.hits] == list(range(1, 51))


def test_a_deadline_before_the_first_passage_leaves_the_first_stages_order() -> None:
    provider = RerankerProvider(lambda: Slow({}, PLAIN))
    provider.get()
    slow = Searcher(ListStore(MANY), provider, config.load(files=[]))
    ranking = slow.search("q", deadline_ms=0.001)
    assert (ranking.reranked, ranking.failed) == (False, True)
    assert "before a passage was scored" in (ranking.reason or "")


def test_a_deadline_holds_while_the_model_is_being_loaded() -> None:
    loaded = threading.Event()

    def load() -> TableReranker:
        loaded.wait(10)
        return TableReranker(LOGITS, PLAIN)

    with searcher(load) as slow:
        ranking = slow.search("q", deadline_ms=30)
        assert "while the reranker was being loaded" in (ranking.reason or "")
        assert ranking.failed
        loaded.set()


def test_a_deadline_holds_while_a_failed_model_is_loaded_again() -> None:
    now, loads = 0.0, 0
    loaded = threading.Event()

    def load() -> TableReranker:
        nonlocal loads
        loads += 1
        if loads == 1:
            raise CheckpointError("model.safetensors is missing")
        loaded.wait(5)
        return TableReranker(LOGITS, PLAIN)

    # A gate: the load does not begin before the store is searched.
    settings = config.load({"gate": 100.0}, files=[])
    provider = RerankerProvider(load, clock=lambda: now)
    with Searcher(ListStore(FOUND), provider, settings) as slow:
        assert "is missing" in (slow.search("q").reason or "")
        now += LONGEST_WAIT
        ranking = slow.search("q", deadline_ms=30)
        loaded.set()
        assert "while the reranker was being loaded" in (ranking.reason or "")
    assert loads == 2


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


def test_an_answer_carries_what_the_store_says_of_itself() -> None:
    """And without a known embedding model no cosine counts, whatever it is."""

    class Foreign(ListStore):
        def describe(self) -> StoreInfo:
            return replace(super().describe(), embedding=None, notes=("made by others",))

    blend = Blend(
        (Formula(0.0, {"cosine": 100.0, "logit": 1.0}), Formula(1.0, {"logit": 1.0})), "m"
    )
    found = Searcher(
        Foreign([replace(one, cosine=0.9, fused=None) for one in FOUND]),
        RerankerProvider(lambda: TableReranker(LOGITS, blend)),
        config.load(files=[]),
    ).search("q")
    assert found.notes == ("made by others",)
    assert found.hits[0].probability == pytest.approx(sigmoid(1 + LOGITS["prevention"]))


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


def test_a_gate_of_another_retrieval_or_model_says_so() -> None:
    tuned = {"gate": 0.1, "gate_tuned_for": "hybrid bundled"}
    fitted = blend(0.0, logit=1.0, fused=0.1)
    assert searcher(model=fitted, **tuned).search("q").notes == ()
    (note,) = searcher(model=fitted, **tuned).search("q", retrieval="bm25").notes
    assert "tuned for 'hybrid bundled', but this search uses 'bm25 bundled'" in note
    assert searcher(model=fitted, **tuned).search("q", retrieval="bm25", gate=None).notes == ()


def test_a_gate_of_another_version_names_the_version_that_answered() -> None:
    fitted = TableReranker(LOGITS, blend(0.0, logit=1.0, fused=0.1))
    current = {"model": "current", "gate": 0.99}

    def notes(tuned_for: str) -> tuple[str, ...]:
        settings = config.load(current | {"gate_tuned_for": tuned_for}, files=[])
        return (
            Searcher(ListStore(FOUND), RerankerProvider(lambda: fitted), settings).search("q").notes
        )

    (note,) = notes("hybrid clinic")
    assert "tuned for 'hybrid clinic', but this search uses 'hybrid table'" in note
    assert notes("hybrid table") == ()
    assert notes("hybrid current") == ()


def test_probabilities_that_were_fitted_on_nothing_are_called_so() -> None:
    (note,) = searcher().search("q").notes
    assert note.startswith("the probabilities are not calibrated for table")
    assert searcher(rerank=False).search("q").notes == ()


def test_a_threshold_that_hides_all_says_what_the_best_has() -> None:
    ranking = searcher(threshold=0.99).search("q")
    assert ranking.hits == ()
    assert "3 documents were found" in (ranking.hint or "")
    assert "0.953" in (ranking.hint or "")  # sigmoid(3)


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
