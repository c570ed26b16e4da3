"""What the tests say of each setting: its mean over seeds, and its difference to its baseline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from kd_lab import significance
from kd_lab.report.answers import Array
from kd_lab.report.gathering import Setting
from kd_lab.report.runs import Run
from kd_lab.significance import Mean

SPLITS = ("test", "rest")
FEWEST = 3
"""Seeds for an interval of a mean: that of two is nine deviations wide on each side, and tells nothing."""


@dataclass(frozen=True)
class Spread:
    """Accuracy of n seeds in [0, 1]: mean, standard deviation and t interval, None where they are too few."""

    n: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None


@dataclass
class Comparison:
    """A setting less its baseline, on the rows and seeds that both have.

    Attributes:
        baseline: that it is compared with.
        n: seeds in common.
        difference: of mean accuracies, in [-1, 1].
        low, high, p: of the paired t-test; None for one seed, or where the differences do not vary.
        by_seed: the differences of single seeds.
        detectable: the true difference that so many seeds find in four cases of five; None likewise.
        p_holm: ``p`` corrected for all comparisons of the table.
        over_rows: interval for other seeds and other clusters of rows; None without predictions.
        rows, clusters: that it and McNemar's test were made on.
        mcnemar: for each seed, the rows that only the baseline and that only the setting answered rightly, and p.
    """

    baseline: Setting
    n: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    detectable: float | None = None
    by_seed: Sequence[float] = ()
    p_holm: float | None = None
    over_rows: tuple[float, float] | None = None
    rows: int = 0
    clusters: int = 0
    mcnemar: list[tuple[int, int, float]] = field(default_factory=list)


def spread(setting: Setting, split: str) -> Spread | None:
    """Of the seeds whose accuracy on ``split`` is known; None where there is none."""
    values = np.array([a for run in setting.runs if (a := run.accuracy(split)) is not None])
    if not len(values):
        return None
    found = significance.mean_of(values)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else None
    low, high = (_number(found.low), _number(found.high)) if len(values) >= FEWEST else (None, None)
    return Spread(len(values), float(found.mean), deviation, low, high)


def compare(settings: Sequence[Setting], baselines: Sequence[Setting | None], split: str) -> list[Comparison | None]:
    """Every setting with its baseline, all of them on the same rows; Holm's correction is over all comparisons."""
    pairs = [_pairs(setting, baseline, split) for setting, baseline in zip(settings, baselines, strict=True)]
    found = [
        _compare(baseline, those, split) if baseline and those else None
        for baseline, those in zip(baselines, pairs, strict=True)
    ]
    correct(found)
    _over_rows(found, pairs, split)
    return found


def _pairs(setting: Setting, baseline: Setting | None, split: str) -> list[tuple[Run, Run]]:
    """Baseline's and setting's run of each seed that both have."""
    before = {run.result.seed: run for run in (baseline.runs if baseline else ())}
    both = [(before[run.result.seed], run) for run in setting.runs if run.result.seed in before]
    return [pair for pair in both if all(run.accuracy(split) is not None for run in pair)]


def _compare(baseline: Setting, pairs: Sequence[tuple[Run, Run]], split: str) -> Comparison:
    accuracy = np.array([[run.accuracy(split) for run in pair] for pair in pairs], dtype=float)
    before, after = accuracy.T
    return _of(baseline, after - before, significance.paired(before, after))


def pooled(found: Sequence[Comparison]) -> Comparison:
    """What the same comparison found on several cuts of the data, each with seeds of its own."""
    by_seed = [np.array(one.by_seed) for one in found]
    return _of(found[0].baseline, np.concatenate(by_seed), significance.pooled(by_seed))


def correct(found: Iterable[Comparison | None]) -> None:
    """Holm's correction, over all that were tested."""
    tested = [one for one in found if one and one.p is not None]
    for one, p in zip(tested, significance.holm([one.p or 0.0 for one in tested]), strict=True):
        one.p_holm = p


def _of(baseline: Setting, differences: Array, test: Mean) -> Comparison:
    low, high, p, detectable = (_number(value) for value in (test.low, test.high, test.p, test.detectable))
    return Comparison(
        baseline, len(differences), float(test.mean), low, high, p, detectable, by_seed=differences.tolist()
    )


def _over_rows(found: Sequence[Comparison | None], pairs: Sequence[Sequence[tuple[Run, Run]]], split: str) -> None:
    """What asks about other rows, where the predictions of both are there, on the same rows in the same order."""
    known = [run.answers[split] for those in pairs for pair in those for run in pair if split in run.answers]
    if not known:
        return
    # Runs of an earlier version do not name the sentences; the rows are the same.
    told = next((answers for answers in known if answers.nested), known[0])
    for one, those in zip(found, pairs, strict=True):
        answers = [tuple(run.answers.get(split) for run in pair) for pair in those]
        if one is None or any(a is None or not np.array_equal(a.rows, told.rows) for pair in answers for a in pair):
            continue
        right = [(before.right, after.right) for before, after in answers if before and after]
        one.mcnemar = [significance.mcnemar(before, after) for before, after in right]
        one.rows, one.clusters = len(told.rows), len(np.unique(told.clusters))
        one.over_rows = significance.over_rows(
            np.stack([after.astype(float) - before for before, after in right]), told.clusters
        )


def _number(value: Array) -> float | None:
    return None if np.isnan(value) else float(value)
