"""The statistics: right against scipy and by simulation, and silent where there is nothing to say."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from kd_lab import significance

ROWS = 2000
SIMULATIONS = 10_000


def accuracies(
    draws: np.random.Generator, seeds: int, deviation: float, apart: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracies of two settings on the same fixed rows, [SIMULATIONS, seeds] each.

    Some rows every seed gets right, some are a toss for every seed: as many as give that standard deviation over seeds.
    Half of the tosses are common to both settings, so that the pairs are correlated. The second setting always gets
    ``apart`` rows more right.
    """
    tossed = round(4 * deviation**2 * ROWS**2)
    shape = (SIMULATIONS, seeds)
    common = draws.binomial(tossed // 2, 0.5, shape)
    first, second = (200 + common + draws.binomial(tossed - tossed // 2, 0.5, shape) for _ in range(2))
    return first / ROWS, (second + apart) / ROWS


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("deviation", [0.002, 0.004, 0.01])
def test_the_test_of_record_keeps_its_promises(seeds: int, deviation: float) -> None:
    """The interval holds the true difference in 95% of 10,000 experiments, the test errs in 5% where there is none."""
    draws = np.random.default_rng([seeds, int(1000 * deviation)])
    for apart in (0, 10):
        first, second = accuracies(draws, seeds, deviation, apart)
        assert first.std(axis=1, ddof=1).mean() == pytest.approx(deviation, rel=0.15)
        found = significance.paired(first, second)
        known = ~np.isnan(found.p)
        assert known.mean() > 0.99, "three differences on 2,000 rows are seldom the same"
        truth, slack = apart / ROWS, 1e-12
        covered = (found.low[known] <= truth + slack) & (truth - slack <= found.high[known])
        assert 0.94 <= covered.mean() <= 0.96
        if not apart:
            assert 0.04 <= (found.p[known] < 0.05).mean() <= 0.06
        else:
            assert found.mean.mean() == pytest.approx(truth, abs=3e-4)
        expected = stats.ttest_rel(second[known], first[known], axis=1)
        assert found.p[known] == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize("seeds", [2, 3, 8, 30])
def test_what_is_detectable_is_detected_in_four_cases_of_five(seeds: int) -> None:
    normal = np.random.default_rng(seeds).normal(size=(SIMULATIONS, seeds))
    # The true deviation is 1, but for seeds that vary as they happen to: of many experiments, its root mean square.
    detectable = np.sqrt(np.square(significance.mean_of(normal).detectable).mean())
    assert (significance.mean_of(normal + detectable).p < 0.05).mean() == pytest.approx(0.8, abs=0.015)
    assert (significance.mean_of(normal - detectable / 2).p < 0.05).mean() < 0.6


def test_one_experiment_is_what_scipy_says() -> None:
    first, second = np.array([0.912, 0.917, 0.909, 0.92]), np.array([0.915, 0.92, 0.917, 0.921])
    found, expected = significance.paired(first, second), stats.ttest_rel(second, first)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert [found.low, found.high] == pytest.approx([interval.low, interval.high])
    assert found.mean == pytest.approx((second - first).mean())


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], 0.0),
        ([0.8, 0.7, 0.6], [0.9, 0.8, 0.7], 0.1),  # in floating point these differences differ
        ([0.8], [0.9], 0.1),
    ],
)
def test_without_variance_there_is_a_difference_and_no_test(
    first: list[float], second: list[float], difference: float
) -> None:
    found = significance.paired(np.array(first), np.array(second))
    assert found.mean == pytest.approx(difference)
    assert np.isnan([found.low, found.high, found.p, found.detectable]).all()


def test_groups_together_are_an_analysis_of_variance() -> None:
    first, second = np.array([0.01, 0.03, -0.02, 0.05]), np.array([0.04, 0.02, 0.07])
    found = significance.pooled([first, second])
    values, of_group = np.concatenate([first, second]), np.repeat(np.eye(2), (4, 3), axis=0)
    means, squares, *_ = np.linalg.lstsq(of_group, values)
    covariance = np.linalg.inv(of_group.T @ of_group) * squares[0] / 5
    error = np.sqrt(np.full(2, 0.5) @ covariance @ np.full(2, 0.5))
    assert found.mean == pytest.approx(means.mean())
    assert found.p == pytest.approx(2 * stats.t.sf(means.mean() / error, 5))
    assert [found.low, found.high] == pytest.approx(list(means.mean() + error * np.array(stats.t.interval(0.95, 5))))
    alone, wanted = significance.pooled([first]), significance.mean_of(first)
    assert np.array(list(vars(alone).values())) == pytest.approx(np.array(list(vars(wanted).values())))


@pytest.mark.parametrize("groups", [[[0.1], [0.2]], [[0.1, 0.1], [0.2, 0.2]]])
def test_groups_without_variance_have_a_mean_and_no_test(groups: list[list[float]]) -> None:
    found = significance.pooled([np.array(values) for values in groups])
    assert found.mean == pytest.approx(0.15)
    assert np.isnan([found.low, found.high, found.p, found.detectable]).all()


def test_mcnemar_is_the_binomial_test_of_the_rows_that_differ() -> None:
    first = np.array([True] * 50 + [True] * 9 + [False] * 2 + [False] * 30)
    second = np.array([True] * 50 + [False] * 9 + [True] * 2 + [False] * 30)
    assert significance.mcnemar(first, second) == pytest.approx((9, 2, stats.binomtest(2, 11).pvalue))
    assert significance.mcnemar(second, first)[2] == pytest.approx(significance.mcnemar(first, second)[2])
    assert significance.mcnemar(first, first) == (0, 0, 1.0)


def test_mcnemar_errs_no_oftener_than_it_says() -> None:
    draws = np.random.default_rng(0)
    p = [significance.mcnemar(*(draws.random((2, 300)) < 0.9))[2] for _ in range(1000)]
    assert (np.array(p) < 0.05).mean() <= 0.06


def test_holm_corrects_as_in_the_textbook() -> None:
    assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([0.6, 0.7]) == [1.0, 1.0]
    assert significance.holm([]) == []


@pytest.mark.parametrize("seeds", [3, 8])
@pytest.mark.parametrize(
    ("of_seeds", "of_sentences", "of_rows"),
    [(0.0, 0.4, 0.1), (0.01, 0.4, 0.4), (0.1, 0.1, 0.1), (0.07, 0.0, 0.4), (0.0, 0.0, 0.4)],
    ids=["sentences", "both", "seeds", "seeds but no sentences", "neither alone"],
)
def test_other_seeds_and_other_rows_are_in_the_interval(
    seeds: int, of_seeds: float, of_sentences: float, of_rows: float
) -> None:
    """It holds the truth in about 95% of 1,000 experiments, whatever varies; that over seeds alone is too narrow."""
    draws = np.random.default_rng(seeds)
    clusters = np.repeat(np.arange(150), 2)
    held = []
    for _ in range(1000):
        differences = draws.normal(0, of_rows, (seeds, 300)) + draws.normal(0, of_seeds, (seeds, 1))
        differences += np.repeat(draws.normal(0, of_sentences, 150), 2)
        low, high = significance.over_rows(differences, clusters)
        over_seeds = significance.mean_of(differences.mean(axis=1))
        held.append((low <= 0 <= high, bool(over_seeds.low <= 0 <= over_seeds.high)))
    over_both, over_seeds_alone = np.mean(held, axis=0)
    assert 0.92 <= over_both <= 0.99
    if of_sentences > 0.1:
        assert over_seeds_alone < 0.85


def test_where_only_seeds_vary_the_interval_is_that_of_seeds() -> None:
    differences = np.repeat([[0.01], [0.03], [0.08]], 40, axis=1)
    found = significance.mean_of(differences.mean(axis=1))
    wanted = (float(found.low), float(found.high))
    assert significance.over_rows(differences, np.arange(40) // 2) == pytest.approx(wanted)


def test_of_one_seed_the_interval_is_that_of_rows() -> None:
    row = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], size=(1, 60))
    found = significance.mean_of(row[0])
    assert significance.over_rows(row, np.arange(60)) == pytest.approx((float(found.low), float(found.high)))


def test_without_variance_both_ends_are_the_mean() -> None:
    assert significance.over_rows(np.full((3, 20), 0.5), np.arange(20)) == (0.5, 0.5)


def test_rows_of_one_cluster_count_once() -> None:
    few = np.repeat(np.random.default_rng(2).choice([-1.0, 0.0, 1.0], size=(1, 100)), 3, axis=0)
    low, high = once = significance.over_rows(few, np.arange(100))
    repeated = np.repeat(few, 5, axis=1)
    assert significance.over_rows(repeated, np.repeat(np.arange(100).astype(str), 5)) == pytest.approx(once)
    narrow = significance.over_rows(repeated, np.arange(500))
    assert narrow[1] - narrow[0] < 0.5 * (high - low), "taken for independent they seem to say more"


def test_the_interval_of_a_share_is_wilsons() -> None:
    z, p, n = 1.959963984540054, 0.8, 100
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    wanted = ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
    assert significance.share(80, n) == pytest.approx(wanted)
