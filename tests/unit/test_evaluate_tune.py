"""The choice against a brute-force search over the same grid, measured run by run."""

from __future__ import annotations

import numpy as np
import pytest
from evaluate_data import scored, task

from search.errors import InputError
from search.evaluate import derive
from search.evaluate.derive import Pipeline
from search.evaluate.metrics import MAIN, Metrics
from search.evaluate.tune import Setting, tune
from search.rerank import Blend
from search.rerank.blend import Formula

MODEL = Blend((Formula(0.0, {"logit": 1.0, "fused": 2.0}), Formula(0.0, {"logit": 1.0})))
LARGE, SMALL = task(40, seed=1), task(15, seed=2)
DEV = [(LARGE, scored(LARGE, signal=2.0)), (SMALL, scored(SMALL, signal=2.0))]
BLENDS = [MODEL, MODEL]
KS, WEIGHTS = (5, 10, 20), (0.0, 2.0, 8.0)


def measured(pipeline: Pipeline) -> tuple[float, float]:
    """(nDCG@10, passages per query), from the run that these settings give on each set."""
    ndcg, pairs = [], []
    for made, passes in DEV:
        run = derive.final(passes, pipeline, MODEL)
        ndcg.append(Metrics(made.qrels, [MAIN])(run)[MAIN].mean())
        kept = derive.keeps_first_stage(
            derive.margins(passes, pipeline.candidates, MODEL), pipeline.gate
        )
        pairs.append(pipeline.candidates * (1 - kept.mean()))
    return float(np.mean(ndcg)), float(np.mean(pairs))


def test_every_point_of_the_grid_is_what_its_run_measures() -> None:
    tuning = tune(DEV, BLENDS, KS, WEIGHTS, bound=0.01)
    for setting in tuning.grid[::7]:
        ndcg, pairs = measured(setting.pipeline)
        assert setting.ndcg == pytest.approx(ndcg)
        assert setting.pairs == pytest.approx(pairs)


@pytest.mark.parametrize("bound", [0.0, 0.01, 0.05])
def test_the_cheapest_setting_within_the_bound_is_chosen(bound: float) -> None:
    tuning = tune(DEV, BLENDS, KS, WEIGHTS, bound)
    best = max(measured(Pipeline(k, w))[0] for k in KS for w in WEIGHTS)
    assert tuning.best.ndcg == pytest.approx(best)
    assert tuning.chosen.ndcg >= best - bound
    assert not [
        s for s in tuning.grid if s.ndcg >= best - bound and s.pairs < tuning.chosen.pairs - 1e-6
    ]


def test_a_wider_bound_never_costs_more() -> None:
    costs = [tune(DEV, BLENDS, KS, WEIGHTS, bound).chosen.pairs for bound in (0.0, 0.01, 0.05, 1.0)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 0
    assert costs[-1] == 0, "with the whole quality to give up, nothing is reranked"


def test_a_reranker_that_only_harms_is_gated_away() -> None:
    harmful = [(made, scored(made, signal=-8.0)) for made, _ in DEV]
    tuning = tune(harmful, BLENDS, KS, (0.0,), bound=0.0)
    assert tuning.best.ndcg < tuning.first
    assert tuning.chosen.ndcg >= tuning.first - 0.05
    assert tuning.chosen.reranked_share == 0


def test_each_dev_set_counts_alike_whatever_its_size() -> None:
    def alone(pipeline: Pipeline, index: int) -> float:
        grid: dict[Pipeline, Setting] = {
            s.pipeline: s for s in tune(DEV[index : index + 1], [MODEL], KS, WEIGHTS, 0.01).grid
        }
        return grid[pipeline].ndcg

    for setting in tune(DEV, BLENDS, KS, WEIGHTS, 0.01).grid:
        if setting.pipeline.gate is None:
            both = (alone(setting.pipeline, 0) + alone(setting.pipeline, 1)) / 2
            assert setting.ndcg == pytest.approx(both)


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(InputError, match="at least one K"):
        tune(DEV, BLENDS, (), WEIGHTS, 0.01)
