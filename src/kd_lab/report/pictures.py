"""What is drawn of a table's settings: each picture with a caption that says what one sees, and of how many seeds."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kd_lab.report import comparing, drawing
from kd_lab.report.drawing import INK, Style
from kd_lab.report.gathering import Group, Setting
from kd_lab.report.runs import plain

MOST = 6  # settings that one picture of lines can hold
CHARACTERS = 50  # of a label on one line
LINE, ROW = 10.0, 16.0  # points: a line of a label, and the marks below it
FEW = 10  # answers of a bin that say nothing
Numbered = tuple[int, Setting]


@dataclass(frozen=True)
class Picture:
    """An SVG, what it is called, what one sees in it, and its legend: swatch and label."""

    title: str
    svg: str
    caption: str
    legend: Sequence[tuple[str, str]] = ()


def draw(group: Group, split: str) -> list[Picture]:
    """All pictures of ``group`` for which its runs have the figures; accuracy is on ``split``."""
    numbered = list(enumerate(group.settings))
    # Chosen by validation accuracy: the test rows choose nothing.
    best = sorted(numbered, key=lambda one: -(_mean(one[1], "validation") or 0))[:MOST]
    best.sort(key=lambda one: one[0])
    left = len(numbered) - len(best)
    shown = f" The {MOST} settings of the highest validation accuracy; {left} more are left out." if left else ""
    key, whole = group.digest[:8], [one for one in numbered if _mean(one[1], split) is not None]
    makers: list[Callable[[], Picture | None]] = [
        lambda: forest(whole, split, key),
        lambda: by_size(whole, split, key),
        lambda: curves(best, shown, key),
        lambda: under_noise(best, shown, key),
        lambda: calibration(best, shown, split, key),
        lambda: agreement(whole, split, key),
    ]
    return [picture for make in makers if (picture := make())]


def forest(settings: Sequence[Numbered], split: str, key: str) -> Picture | None:
    """Means with their intervals, the best on top."""
    spreads = [(number, s, found) for number, s in settings if (found := comparing.spread(s, split))]
    spreads.sort(key=lambda one: one[2].mean)
    figure, axes, places = _rows([s.label for _, s, _ in spreads], [f"{100 * f.mean:.2f}" for *_, f in spreads])
    for (number, setting, found), y in zip(spreads, places, strict=True):
        how = drawing.style(number)
        if found.low is not None and found.high is not None:
            axes.plot([100 * found.low, 100 * found.high], [y, y], color=how.color, linewidth=1.6)
        seeds = [100 * a for run in setting.runs if (a := run.accuracy(split)) is not None]
        axes.plot(seeds, [y] * len(seeds), "|", color=INK, markersize=6, markeredgewidth=0.7)
        axes.plot([100 * found.mean], [y], how.marker, color=how.color, markersize=5.5)
    axes.set_xlabel(f"{split} accuracy %")
    best, worst = spreads[-1], spreads[0]
    caption = (
        f"Mean {split} accuracy of {len(spreads)} settings, the best on top, with its 95% t interval; thin strokes are "
        f"single seeds ({_seeds([s for _, s, _ in spreads])}; a single seed has no interval). Highest: {best[1].label}, "
        f"{100 * best[2].mean:.2f}%; lowest: {worst[1].label}, {100 * worst[2].mean:.2f}%."
    )
    return Picture("Settings with their intervals", drawing.svg(figure, f"forest{key}"), caption)


def by_size(settings: Sequence[Numbered], split: str, key: str) -> Picture | None:
    """Accuracy against parameters, of students and of the teachers as they ended."""
    figure, (axes,) = drawing.canvas(215)
    sizes, legend = [], []
    for number, setting in settings:
        found, how = comparing.spread(setting, split), drawing.style(number)
        if not found:
            continue
        sizes.append(setting.first.result.student.parameters)
        axes.plot([sizes[-1]], [100 * found.mean], how.marker, color=how.color, markersize=6)
        if found.low is not None and found.high is not None:
            axes.plot([sizes[-1]] * 2, [100 * found.low, 100 * found.high], color=how.color, linewidth=1)
        legend.append((drawing.swatch(how, line=False), setting.label))
    teachers: dict[tuple[str, int], list[float]] = {}
    for _, setting in settings:
        for teacher in (t for run in setting.runs for t in run.result.teachers if split == "test"):
            teachers.setdefault((plain(teacher.name), teacher.parameters), []).append(teacher.test.accuracy)
    for (_, size), values in teachers.items():
        axes.plot([size], [100 * fmean(values)], "o", color=INK, markerfacecolor="none", markersize=9)
        sizes.append(size)
    drawing.sizes_axis(axes, sizes)
    axes.set(xlabel="parameters", ylabel=f"{split} accuracy %")
    rings = f" Rings are teachers at their student's best epoch ({', '.join(n for n, _ in teachers)})." if teachers else ""
    caption = (
        f"Mean {split} accuracy against the student's parameters, with 95% t intervals "
        f"({_seeds([s for _, s in settings])}).{rings}"
    )
    return Picture("Accuracy against parameters", drawing.svg(figure, f"size{key}"), caption, legend)


def curves(settings: Sequence[Numbered], shown: str, key: str) -> Picture | None:
    """Validation accuracy by epoch, of students and, where they learn, of teachers."""
    taught = any(run.curves["teacher"] for _, s in settings for run in s.runs)
    panels = ["student", "teacher"] if taught else ["student"]
    figure, axes = drawing.canvas(190, len(panels))
    drawn = []
    for panel, who in zip(axes, panels, strict=True):
        for number, setting in settings:
            if any(found := [run.curves[who] for run in setting.runs if run.curves[who]]):
                epochs = sorted(set.intersection(*(set(curve) for curve in found)))
                values = np.array([[100 * curve[epoch] for epoch in epochs] for curve in found])
                _line(panel, [epoch + 1 for epoch in epochs], values, drawing.style(number))
                drawn.append((number, setting))
        panel.set(title=who, xlabel="epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    if not drawn:
        return None
    axes[0].set_ylabel("validation accuracy %")
    caption = (
        "Validation accuracy after each epoch, warm-up included: mean over seeds, the band from the lowest to the highest "
        f"seed ({_seeds([s for _, s in settings])}).{shown}"
    )
    return Picture("Training curves", drawing.svg(figure, f"curves{key}"), caption, _legend(drawn))


def under_noise(settings: Sequence[Numbered], shown: str, key: str) -> Picture | None:
    """Test accuracy as noise grows."""
    kinds = list(dict.fromkeys(n.noise for _, s in settings for run in s.runs for n in run.result.under_noise))
    if not kinds:
        return None
    figure, axes = drawing.canvas(190, len(kinds))
    for panel, kind in zip(axes, kinds, strict=True):
        for number, setting in settings:
            found = [_noisy(run.result, kind) for run in setting.runs]
            strengths = sorted(set.intersection(*(set(one) for one in found)))
            values = np.array([[one[p] for p in strengths] for one in found])
            _line(panel, strengths, values, drawing.style(number))
        panel.set(title=kind, xlabel="noise p")
    axes[0].set_ylabel("test accuracy %")
    caption = (
        f"Test accuracy of the student as {' and '.join(kinds)} noise on the test sentences grows: mean over seeds, the "
        f"band from the lowest to the highest seed ({_seeds([s for _, s in settings])}).{shown}"
    )
    return Picture("Under growing noise", drawing.svg(figure, f"noise{key}"), caption, _legend(settings))


def calibration(settings: Sequence[Numbered], shown: str, split: str, key: str) -> Picture | None:
    """Reliability diagram."""
    figure, (axes,) = drawing.canvas(215)
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.7)
    legend, lowest = [], 100.0
    for number, setting in settings:
        if not (known := [run.answers[split] for run in setting.runs if split in run.answers]):
            continue
        pooled = [bin_ for answers in known for bin_ in answers.reliability()]
        points = [point for point in _pool(pooled) if point[0] >= FEW]
        how = drawing.style(number)
        axes.plot([100 * sure for _, sure, _ in points], [100 * right for *_, right in points], **drawing.drawn(how))
        lowest = min([lowest, *(100 * min(sure, right) for _, sure, right in points)])
        error = fmean(answers.calibration_error for answers in known)
        legend.append((drawing.swatch(how, line=True), f"{setting.label}: error {100 * error:.2f} points"))
    if not legend:
        return None
    axes.set(xlabel="confidence %", ylabel=f"{split} accuracy %", xlim=(lowest - 3, 103), ylim=(lowest - 3, 103))
    caption = (
        f"Accuracy against confidence on the {split} rows, in 15 bins of equal width over all seeds "
        f"({_seeds([s for _, s in settings])}), bins of under {FEW} answers left out. On the diagonal a student is as often "
        "right as it is sure; below it, it is too sure. Error: expected calibration error, mean over seeds." + shown
    )
    return Picture("Calibration", drawing.svg(figure, f"calibration{key}"), caption, legend)


def agreement(settings: Sequence[Numbered], split: str, key: str) -> Picture | None:
    """How often student and teachers say the same, beside how often each is right."""
    rows = [(s.label, known) for _, s in settings if (known := _taught(s, split))]
    if not rows:
        return None
    marks = {"student right": drawing.style(0), "teachers right": drawing.style(1), "both say the same": drawing.style(2)}
    figure, axes, places = _rows([label for label, _ in rows], [""] * len(rows))
    for (_, known), y in zip(rows, places, strict=True):
        shares = [fmean(part) * 100 for part in zip(*known, strict=True)]
        axes.plot([min(shares), max(shares)], [y, y], color=INK, linewidth=0.6)
        for share, how in zip(shares, marks.values(), strict=True):
            axes.plot([share], [y], how.marker, color=how.color, markersize=5.5)
    axes.set_xlabel(f"% of {split} rows")
    caption = (
        f"Share of the {split} rows on which the student is right, the teachers (their mean, at the student's best epoch) "
        f"are right, and both give the same label; means over seeds ({_counts([len(known) for _, known in rows])})."
    )
    legend = [(drawing.swatch(how, line=False), name) for name, how in marks.items()]
    return Picture("Agreement of student and teachers", drawing.svg(figure, f"agreement{key}"), caption, legend)


def _taught(setting: Setting, split: str) -> list[tuple[float, float, float]]:
    known = [run.answers[split] for run in setting.runs if split in run.answers]
    return [
        (a.accuracy, float(a.teachers_right.mean()), float(a.agrees.mean()))
        for a in known
        if a.teachers_right is not None and a.agrees is not None
    ]


def _rows(labels: Sequence[str], values: Sequence[str]) -> tuple[Figure, Axes, list[float]]:
    """Axes with a row for each label, from the ground up: the label, a value on its right, and the height of its marks."""
    lines = [textwrap.wrap(label, CHARACTERS) for label in labels]
    height = sum(ROW + LINE * len(part) for part in lines)
    figure, (axes,) = drawing.canvas(height + 42)
    places, y = [], 0.0
    for part, value in zip(lines, values, strict=True):
        places.append(y + ROW / 2)
        top: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "fontsize": 7.5, "va": "bottom"}
        axes.text(0, y + ROW - 3, "\n".join(part), **top, color=INK, linespacing=1.15)
        axes.text(1, y + ROW - 3, value, **top, color=INK, ha="right")
        y += ROW + LINE * len(part)
    axes.set_ylim(0, y)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.04)
    return figure, axes, places


def _line(axes: Axes, x: Sequence[float], values: Any, how: Style) -> None:
    """The mean over the first axis of ``values`` [seeds, len(x)], and a band around it."""
    axes.plot(x, values.mean(axis=0), **drawing.drawn(how))
    if len(values) > 1:
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=how.color, alpha=0.15, linewidth=0)


def _noisy(result: Any, kind: str) -> dict[float, float]:
    return {0.0: 100 * result.student.test.accuracy} | {
        scores.p: 100 * scores.accuracy for scores in result.under_noise if scores.noise == kind
    }


def _pool(bins: Sequence[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """Bins of several seeds as one diagram's: those of equal place are put together."""
    places: dict[int, list[tuple[int, float, float]]] = {}
    for one in bins:
        places.setdefault(int(min(one[1], 1 - 1e-9) * 15), []).append(one)
    pooled = []
    for _, those in sorted(places.items()):
        rows = sum(one[0] for one in those)
        pooled.append((rows, *(sum(one[0] * one[k] for one in those) / rows for k in (1, 2))))
    return pooled  # type: ignore[return-value]


def _mean(setting: Setting, split: str) -> float | None:
    found = comparing.spread(setting, split)
    return found.mean if found else None


def _legend(settings: Sequence[Numbered]) -> list[tuple[str, str]]:
    seen = dict(settings)
    return [(drawing.swatch(drawing.style(number), line=True), setting.label) for number, setting in seen.items()]


def _seeds(settings: Sequence[Setting]) -> str:
    return _counts([len(setting.runs) for setting in settings])


def _counts(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"n = {low} to {high} seeds each" if low < high else f"n = {low} seed{'s' * (low > 1)} each"
