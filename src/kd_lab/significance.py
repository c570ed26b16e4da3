"""How far a difference can be told from chance: t intervals and paired tests over seeds, tests over rows.

Seeds and rows are two sources of chance. The t-test asks whether other seeds would have given the same on the same
rows; McNemar's test whether two trained classifiers differ on rows like these; one interval is about both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Array = NDArray[Any]

CONFIDENCE = 0.95
POWER = 0.8
SAME = 1e-9
"""Accuracies that are nearer to each other than this are the same: no test set has a billion rows."""


@dataclass(frozen=True)
class Mean:
    """What n values say of the mean they were drawn around; arrays of the shape that is left without the values' axis.

    Attributes:
        mean: of the values.
        low, high: the t interval of ``CONFIDENCE``; NaN for a single value and where all values are the same.
        p: of the two-sided t-test against 0; NaN in the same places.
        detectable: how far from 0 a true mean must be to be told from it by n values that vary as these do, with
            p < 1 - ``CONFIDENCE``, in ``POWER`` of all cases (the minimum detectable effect); NaN in the same places.
    """

    mean: Array
    low: Array
    high: Array
    p: Array
    detectable: Array


def mean_of(values: Array) -> Mean:
    """Student's t interval and test for ``values`` [..., n], each row by itself; n is at least 1."""
    mean = np.asarray(values.mean(axis=-1))
    low, high, p, detectable = (np.full(mean.shape, np.nan) for _ in range(4))
    varies = np.asarray(np.ptp(values, axis=-1) > SAME)
    if varies.any():
        found = stats.ttest_1samp(values[varies], 0.0, axis=-1)
        interval = found.confidence_interval(CONFIDENCE)
        low[varies], high[varies], p[varies] = interval.low, interval.high, found.pvalue
        detectable[varies] = _noncentrality(values.shape[-1] - 1) * stats.sem(values[varies], axis=-1)
    return Mean(mean, low, high, p, detectable)


@lru_cache
def _noncentrality(freedom: int) -> float:
    """How many standard errors from 0 a t-test finds in ``POWER`` of all cases."""
    least = float(stats.t.isf((1 - CONFIDENCE) / 2, freedom))
    # That it is found on the wrong side of 0 happens in less than one case in a million.
    return float(optimize.brentq(lambda errors: stats.nct.sf(least, freedom, errors) - POWER, least, 5 * least))


def share(successes: int, rows: int) -> tuple[float, float]:
    """Wilson's interval of ``CONFIDENCE`` for the share of ``rows``, in [0, 1], that ``successes`` are.

    Probable Inference, the Law of Succession, and Statistical Inference (JASA 22, 1927).
    """
    found = stats.binomtest(successes, rows).proportion_ci(CONFIDENCE, "wilson")
    return float(found.low), float(found.high)


def paired(first: Array, second: Array) -> Mean:
    """The test of record: the paired t-test of ``second`` − ``first``, both [..., n], the nth of each of one seed.

    The same p as :func:`scipy.stats.ttest_rel`, but NaN instead of 0 or a warning where the differences do not vary.
    """
    return mean_of(np.asarray(second) - np.asarray(first))


def pooled(groups: Sequence[Array]) -> Mean:
    """The mean of the means of ``groups`` [n], each drawn around a mean of its own with one common deviation.

    A t interval and test with as many degrees of freedom as there are values less groups: the analysis of variance
    with a fixed effect for each group. NaN for all but the mean where nothing varies within any group.
    """
    mean = np.asarray(np.mean([values.mean() for values in groups]))
    freedom = sum(map(len, groups)) - len(groups)
    squares = sum(float(np.square(values - values.mean()).sum()) for values in groups)
    if not freedom or squares < SAME**2:
        return Mean(mean, *(np.full((), np.nan) for _ in range(4)))
    error = math.sqrt(squares / freedom * sum(1 / len(values) for values in groups)) / len(groups)
    half = stats.t.isf((1 - CONFIDENCE) / 2, freedom) * error
    p = 2 * stats.t.sf(abs(float(mean)) / error, freedom)
    return Mean(mean, mean - half, mean + half, np.asarray(p), np.asarray(_noncentrality(freedom) * error))


def holm(p: Sequence[float]) -> list[float]:
    """``p`` of one family of tests, corrected so that the chance of any false positive stays below the level.

    Holm, *A Simple Sequentially Rejective Multiple Test Procedure* (1979).
    """
    corrected, least = [0.0] * len(p), 0.0
    for place, index in enumerate(np.argsort(p)):
        least = max(least, min(1.0, (len(p) - place) * float(p[index])))
        corrected[int(index)] = least
    return corrected


def mcnemar(first: Array, second: Array) -> tuple[int, int, float]:
    """McNemar's exact test of two classifiers on the same rows.

    Args:
        first, second: [R], whether each row was answered rightly.

    Returns:
        The rows that only the first and that only the second answered rightly, and the two-sided p of such a split
        under equal chances (McNemar, Psychometrika 12, 1947).
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    rows = only_first + only_second
    return only_first, only_second, float(stats.binomtest(only_second, rows).pvalue) if rows else 1.0


def over_rows(differences: Array, clusters: Array) -> tuple[float, float]:
    """The t interval of a mean difference where seeds and rows are both drawn from many.

    The variance is that over seeds plus that over clusters, less the chance of a single row under a single seed, which
    both of them hold (Cameron, Gelbach and Miller, *Robust Inference With Multiway Clustering*, 2011); it is never less
    than either. The degrees of freedom are Satterthwaite's (1946). A bootstrap that draws both anew would count that
    chance three times (Owen, *The Pigeonhole Bootstrap*, 2007).

    Args:
        differences: [S, R], what the second scored on a row under a seed, less what the first did.
        clusters: [R], the cluster of each row; rows of one cluster are taken to vary together.

    Returns:
        Low and high of ``CONFIDENCE``; of a single seed for other rows alone, both the mean if nothing varies.
    """
    mean = float(differences.mean())
    _, cluster = np.unique(clusters, return_inverse=True)
    # [S, C]: what each cluster under each seed adds to the mean's error
    errors = np.stack([np.bincount(cluster, weights=row) for row in differences - mean]) / differences.size
    freedom = np.maximum(1, np.array(errors.shape) - 1)
    varies = np.array([np.square(errors.sum(axis=axis)).sum() for axis in (1, 0)]) * (freedom + 1) / freedom
    variance = max(varies.sum() - np.square(errors).sum(), *varies)
    if variance < SAME**2:
        return mean, mean
    half = math.sqrt(variance) * stats.t.isf((1 - CONFIDENCE) / 2, variance**2 / (varies**2 / freedom).sum())
    return mean - half, mean + half
