"""Every number of the report as text: formatted here, once, so that all renderings have the same."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev

from kd_lab.naming import plain, without_seed
from kd_lab.report import comparing, published
from kd_lab.report.comparing import Comparison, Spread
from kd_lab.report.gathering import Group, Setting
from kd_lab.report.published import Published

Figures = dict[str, str]
"""Texts by their names; what is not known is not in it."""

LOGGED = {
    "quiz loss before": "quiz/loss_before",
    "quiz loss": "quiz/loss",
    "gradient norm": "teacher/gradient_norm",
    "gradient cosine": "teacher/gradient_cosine",
    "gradient cosine size": "teacher/gradient_cosine",
}
"""Figures that are means over what was logged on the way, by their names; those of a size leave out the sign."""
NO_VARIANCE, ONE_SEED = "no variance", "one seed"


def percent(share: float) -> str:
    """``0.5`` as ``50.00``."""
    return f"{100 * share:.2f}"


def points(share: float) -> str:
    """``0.5`` as ``+50.00``."""
    return f"{round(100 * share, 2) + 0.0:+.2f}"  # never -0.00


def end(share: float) -> str:
    """Of an interval, in points: ``-0.00`` where it lies a little below 0, which is then inside."""
    return f"{100 * share + 0.0:+.2f}"


def probability(p: float) -> str:
    """To three decimals."""
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def of(
    group: Group,
    compared: Sequence[Comparison | None],
    split: str,
    mean: bool,
    settings: Sequence[Setting] | None = None,
) -> list[Figures]:
    """The figures of settings of ``group``.

    Args:
        group: of settings.
        compared: one comparison per setting, or None.
        split: of the comparisons.
        mean: whether sizes are compared with the mean of all teachers of the group, not with the setting's largest.
        settings: that are compared, some perhaps twice; None for all of the group.
    """
    known, sizes = published.load(), teachers_sizes(group)
    baselines = {id(one.baseline) for one in compared if one}
    numbers = {id(setting): str(number) for number, setting in enumerate(group.settings, 1)}
    found = []
    for setting, one in zip(group.settings if settings is None else settings, compared, strict=True):
        figures = {"data": group.title, "number": numbers[id(setting)], "setting": setting.label}
        figures["seeds"] = str(len(setting.runs))
        for part in ("test", "validation", "rest"):
            figures |= _spread(part, comparing.spread(setting, part))
        figures |= dict(_losses(setting))
        if one:
            figures |= {"against": one.baseline.label, "against number": numbers[id(one.baseline)], "split": split}
            figures |= dict(_difference(one))
        elif id(setting) in baselines:
            figures["difference"] = "baseline"
        figures |= dict(_costs(setting)) | dict(_smaller(setting, sizes, mean)) | dict(_learning(setting))
        if printed := published.of(setting, known):
            figures |= {"published": f"{printed.accuracy:.2f}", "published source": printed.source}
        found.append(figures)
    return found


def of_published(entry: Published) -> Figures:
    """The figures of others, which have names of their own."""
    figures = {"setting": entry.system, "published": f"{entry.accuracy:.2f}", "published split": entry.split}
    figures["published source"] = entry.source
    if entry.parameters:
        figures["published parameters"] = f"{entry.parameters:,}"
    if entry.times_smaller:
        figures["published times smaller"] = f"{entry.times_smaller:.1f}"
    return figures


def teachers_sizes(group: Group) -> dict[str, int]:
    """Parameters of each teacher of the table."""
    results = [run.result for setting in group.settings for run in setting.runs]
    return {plain(teacher.name): teacher.parameters for result in results for teacher in result.teachers}


def warnings(setting: Setting) -> Counter[str]:
    """The warnings of its runs, and of how many; those that differ in percentages and seeds only are one."""
    said = (w for run in setting.runs for w in dict.fromkeys(run.result.warnings))
    return Counter(re.sub(r"\d+\.\d+%", "…", without_seed(w)) for w in said)


def _spread(part: str, found: Spread | None) -> Figures:
    if found is None:
        return {}
    figures = {part: percent(found.mean), f"{part} seeds": str(found.n)}
    if found.deviation is not None:
        figures[f"{part} deviation"] = percent(found.deviation)
    if found.low is not None and found.high is not None:
        figures |= {f"{part} low": percent(found.low), f"{part} high": percent(found.high)}
    return figures


def _losses(setting: Setting) -> Iterator[tuple[str, str]]:
    results = [run.result for run in setting.runs]
    by_split = {"test": [one.student.test for one in results], "rest": [one.rest for one in results if one.rest]}
    for split, scores in by_split.items():
        losses = [one.loss for one in scores]
        if losses:
            yield f"{split} loss", f"{fmean(losses):.3f}"
        if len(losses) > 1:
            yield f"{split} loss deviation", f"{stdev(losses):.3f}"


def _difference(one: Comparison) -> Iterator[tuple[str, str]]:
    yield "seeds in common", str(one.n)
    yield "difference", points(one.difference)
    if one.p is None or one.low is None or one.high is None:
        yield "p", ONE_SEED if one.n == 1 else NO_VARIANCE
    else:
        yield from (("low", end(one.low)), ("high", end(one.high)), ("p", probability(one.p)))
    if one.detectable is not None:
        yield "detectable", percent(one.detectable)
    if one.p_holm is not None:
        yield "p holm", probability(one.p_holm)
    if one.over_rows and one.over_rows[0] < one.over_rows[1]:
        yield from (("over rows low", end(one.over_rows[0])), ("over rows high", end(one.over_rows[1])))
    if one.mcnemar:
        yield "rows", f"{one.rows:,}"
        yield "clusters", f"{one.clusters:,}"
        yield "mcnemar", ", ".join(probability(p) for *_, p in one.mcnemar)
        yield "only baseline, only setting", ", ".join(f"{before}:{after}" for before, after, _ in one.mcnemar)


def _costs(setting: Setting) -> Iterator[tuple[str, str]]:
    results = [run.result for run in setting.runs]
    first = results[0]
    for name in ("before", "after"):
        means = [
            sum(r.teachers[k].accuracy_before if name == "before" else r.teachers[k].test.accuracy for r in results)
            / len(results)
            for k in range(len(first.teachers))
        ]
        if means:
            yield f"teachers {name}", " + ".join(map(percent, means))
    yield "parameters", f"{first.student.parameters:,}"
    times = [r.student.milliseconds for r in results if r.student.milliseconds is not None]
    if times:
        yield "milliseconds", f"{sum(times) / len(times):.2f}"
    yield "seconds", f"{sum(r.seconds for r in results) / len(results):,.0f}"
    yield "warnings", str(len(warnings(setting)))


def _learning(setting: Setting) -> Iterator[tuple[str, str]]:
    """How teachers that learn went about it."""
    runs = [run for run in setting.runs if run.result.teacher_updates]
    if not runs:
        return
    for name, metric in LOGGED.items():
        means = [mean for run in runs if (mean := run.mean(metric, size=name.endswith(" size"))) is not None]
        if len(means) == len(runs):  # else those of a row would be of other seeds
            yield name, f"{fmean(means):.4f}"
    yield "teachers moved", f"{100 * fmean(run.result.teacher_displacement for run in runs):.2f}"
    teachers = [list(those) for those in zip(*(run.result.teachers for run in runs), strict=True)]
    for name, loss in (("loss before", lambda t: t.before.test.loss), ("loss after", lambda t: t.test.loss)):
        yield f"teachers {name}", " + ".join(f"{fmean(map(loss, those)):.3f}" for those in teachers)


def _smaller(setting: Setting, sizes: dict[str, int], mean: bool) -> Iterator[tuple[str, str]]:
    student, given = setting.first.result.student, setting.first.result.times_smaller
    if mean and sizes and setting.first.student not in sizes:
        yield "times smaller", f"{sum(sizes.values()) / len(sizes) / student.parameters:.1f}"
    elif given and not mean:
        yield "times smaller", f"{given:.1f}"
