"""Against full enumeration, a published example, and the coverage that 95% promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from search.evaluate.significance import estimate, holm, randomization_test, win_tie_loss


@pytest.mark.parametrize("seed", range(5))
def test_randomization_is_exact_for_few_queries(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.2, 0.5, 9)
    means = [np.mean(np.array(s) * differences) for s in itertools.product([1, -1], repeat=9)]
    extreme = np.abs(means) >= abs(differences.mean()) - 1e-12
    assert randomization_test(differences) == pytest.approx(extreme.mean())


def test_randomization_agrees_with_the_t_test_on_many_normal_differences() -> None:
    differences = np.random.default_rng(2).normal(0.04, 0.3, 400)
    t_test = stats.ttest_1samp(differences, 0).pvalue
    assert randomization_test(differences) == pytest.approx(t_test, abs=0.02)


def test_no_difference_is_no_evidence() -> None:
    assert randomization_test(np.zeros(20)) == 1.0


def test_holm_on_a_known_example() -> None:
    # Holm 1979 as in R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_the_bootstrap_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(100):
        found = estimate(rng.beta(2, 3, 60))
        assert found.low <= found.mean <= found.high
        inside += found.low <= 0.4 <= found.high  # the mean of beta(2, 3)
    assert 88 <= inside <= 100  # 95 ± 3.2 standard errors


def test_an_interval_of_one_query_or_of_equal_values_is_a_point() -> None:
    assert estimate(np.array([0.3])).low == 0.3
    found = estimate(np.full(10, 0.5))
    assert (found.low, found.high) == (0.5, 0.5)


def test_the_same_seed_gives_the_same_figures() -> None:
    values = np.random.default_rng(0).random(50)
    assert estimate(values, seed=4) == estimate(values, seed=4) != estimate(values, seed=5)


def test_wins_ties_and_losses() -> None:
    assert win_tie_loss(np.array([0.1, 0.0, 1e-12, -0.2, 0.3])) == (2, 2, 1)


def test_a_single_query_proves_nothing() -> None:
    assert randomization_test(np.array([0.3])) == 1.0
