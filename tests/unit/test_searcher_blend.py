"""Blend and gate: what the first stage adds to the logit, and when it stands alone."""

from __future__ import annotations

import math

import pytest
from fakes import ListStore, TableReranker
from searcher_bench import FOUND, LOGITS, PLAIN, blend, ids, searcher

import config
from search.rerank import Blend
from search.rerank.blend import Formula
from search.rerank.provider import RerankerProvider
from search.searcher import Searcher


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


def test_the_gate_skips_the_reranker_when_the_first_stage_is_sure() -> None:
    reranker = TableReranker(LOGITS, PLAIN)
    gated = searcher(lambda: reranker, gate=0.29)  # margin of documents 1 and 3: 0.9 - 0.6
    ranking = gated.search("q")
    assert not ranking.reranked
    assert not ranking.failed
    assert "0.300 ≥ gate 0.290" in (ranking.reason or "")
    assert reranker.calls == 0
    assert searcher(lambda: reranker, gate=0.31).search("q").reranked


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
