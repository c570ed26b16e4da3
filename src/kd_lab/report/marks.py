"""Pictures of marks: one per setting, with its interval."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kd_lab.naming import plain
from kd_lab.report import comparing, drawing, figures
from kd_lab.report.comparing import Comparison
from kd_lab.report.drawing import INK
from kd_lab.report.gathering import Setting
from kd_lab.report.pictures import Numbered, Picture, counts, legend, seeds

CHARACTERS = 50  # of a label on one line
LINE, ROW = 10.0, 16.0  # points: a line of a label, and the marks below it
APART = 5.0  # points between the marks of two splits


def forest(settings: Sequence[Numbered], split: str, key: str) -> Picture:
    """Means with their intervals, the best on top; each setting has one."""
    spreads = [(number, s, found) for number, s in settings if (found := comparing.spread(s, split))]
    spreads.sort(key=lambda one: one[2].mean)
    figure, axes, places = _rows(
        [f"{n + 1} {s.label}" for n, s, _ in spreads], [f"{100 * f.mean:.2f}" for *_, f in spreads]
    )
    for (number, setting, found), y in zip(spreads, places, strict=True):
        how = drawing.style(number)
        if found.low is not None and found.high is not None:
            axes.plot([100 * found.low, 100 * found.high], [y, y], color=how.color, linewidth=1.6)
        each = [100 * a for run in setting.runs if (a := run.accuracy(split)) is not None]
        axes.plot(each, [y] * len(each), "|", color=INK, markersize=6, markeredgewidth=0.7)
        axes.plot([100 * found.mean], [y], how.marker, color=how.color, markersize=5.5)
    axes.set_xlabel(f"{split} accuracy %")
    best, worst = spreads[-1], spreads[0]
    drawn = any(found.low is not None for *_, found in spreads)
    caption = (
        f"Mean {split} accuracy of {len(spreads)} settings, the best on top"
        f"{', with its 95% t interval where there are three seeds' if drawn else ''}; thin strokes are single seeds "
        f"({seeds([s for _, s, _ in spreads])}). "
        f"Highest: {best[1].label}, {100 * best[2].mean:.2f}%; lowest: {worst[1].label}, {100 * worst[2].mean:.2f}%."
    )
    return Picture("Means of the settings", drawing.svg(figure, f"forest{key}"), caption)


def differences(asked: Mapping[str, Mapping[str, Comparison]], splits: Sequence[str], key: str) -> Picture:
    """Differences in points with their intervals, the first question on top.

    Args:
        asked: the comparisons of each question by split, at least one.
        splits: first the one that counts.
        key: of the picture.
    """
    labels = list(asked)[::-1]
    judged = [asked[label].get(splits[0]) for label in labels]
    figure, axes, places = _rows(labels, [figures.points(one.difference) if one else "" for one in judged])
    for label, y in zip(labels, places, strict=True):
        axes.plot([0, 0], [y - ROW / 2, y + APART], color=INK, linewidth=0.8)  # not through the label
        for split, one in asked[label].items():
            number = splits.index(split)
            how, height = drawing.style(number), y + APART * (0.4 - number)
            if one.low is not None and one.high is not None:
                axes.plot([100 * one.low, 100 * one.high], [height] * 2, color=how.color, linewidth=1.6)
            for each in one.by_seed:
                axes.plot([100 * each], [height], "|", color=how.color, alpha=0.5)
            axes.plot([100 * one.difference], [height], how.marker, color=how.color, markersize=5)
    axes.set_xlabel("difference in points of accuracy")
    marks = zip(("circles", "squares below"), splits, strict=False)
    caption = (
        "Mean paired differences with their 95% t intervals, before Holm's correction; thin strokes are single seeds; "
        f"right of 0 the first of the two is better. {'; '.join(f'{mark}: {split} rows' for mark, split in marks)} "
        f"({counts([one.n for known in asked.values() for one in known.values()])}); figures are those of the circles."
    )
    return Picture("Differences with their intervals", drawing.svg(figure, f"differences{key}"), caption)


def by_size(settings: Sequence[Numbered], split: str, key: str) -> Picture:
    """Accuracy against parameters, of students and of the teachers as they ended."""
    figure, (axes,) = drawing.canvas(215)
    sizes = [s.first.result.student.parameters for _, s in settings]
    for place, (number, setting) in enumerate(settings):
        found, how = comparing.spread(setting, split), drawing.style(number)
        assert found is not None
        alike = sizes[:place].count(sizes[place]), sizes.count(sizes[place])
        moved = drawing.beside(axes, 6 * (alike[0] - (alike[1] - 1) / 2))
        ends = [100 * (found.mean if end is None else end) for end in (found.low, found.high)]
        axes.plot([sizes[place]] * 2, ends, " ")  # what is moved does not count for the axes' limits
        axes.plot([sizes[place]] * 2, ends, color=how.color, linewidth=1, transform=moved)
        axes.plot([sizes[place]], [100 * found.mean], how.marker, color=how.color, markersize=6, transform=moved)
    teachers = _teachers(settings) if split == "test" else {}
    for (_, size), values in teachers.items():
        axes.plot([size], [100 * fmean(values)], "o", color=INK, markerfacecolor="none", markersize=9)
    drawing.sizes_axis(axes, [*sizes, *(size for _, size in teachers)])
    axes.set(xlabel="parameters", ylabel=f"{split} accuracy %")
    names = ", ".join(dict.fromkeys(name for name, _ in teachers))
    rings = f" Rings are teachers at their student's best epoch ({names})." if teachers else ""
    caption = (
        f"Mean {split} accuracy against the student's parameters, with 95% t intervals "
        f"({seeds([s for _, s in settings])}); students of one size stand side by side.{rings}"
    )
    title = "Accuracy against parameters"
    return Picture(title, drawing.svg(figure, f"size{key}"), caption, legend(settings, f"size{key}", line=False))


def _teachers(settings: Sequence[Numbered]) -> dict[tuple[str, int], list[float]]:
    """Test accuracy at the students' best epochs, by name and size."""
    found: dict[tuple[str, int], list[float]] = {}
    for teacher in (t for _, s in settings for run in s.runs for t in run.result.teachers):
        found.setdefault((plain(teacher.name), teacher.parameters), []).append(teacher.test.accuracy)
    return found


def agreement(settings: Sequence[Numbered], split: str, key: str) -> Picture | None:
    """How often student and teachers say the same, beside how often each is right."""
    rows = [(f"{n + 1} {s.label}", known) for n, s in settings if (known := _taught(s, split))]
    if not rows:
        return None
    marks = dict(
        zip(("student right", "teachers right", "both say the same"), map(drawing.style, range(3)), strict=True)
    )
    marks["teachers right"] = replace(marks["teachers right"], fill="none")  # it may lie on the student's
    figure, axes, places = _rows([label for label, _ in rows], [""] * len(rows))
    for (_, known), y in zip(rows, places, strict=True):
        shares = [fmean(part) * 100 for part in zip(*known, strict=True)]
        axes.plot([min(shares), max(shares)], [y, y], color=INK, linewidth=0.6)
        for share, how in zip(shares, marks.values(), strict=True):
            axes.plot([share], [y], how.marker, color=how.color, markersize=6.5, fillstyle=how.fill)
    axes.set_xlabel(f"% of {split} rows")
    caption = (
        f"Share of the {split} rows on which the student is right, the teachers (their mean, at the student's best "
        f"epoch) are right, and both agree; means over seeds ({counts([len(known) for _, known in rows])})."
    )
    said = [(drawing.swatch(how, f"agreement{key}-{how.marker}", line=False), name) for name, how in marks.items()]
    return Picture("Agreement of student and teachers", drawing.svg(figure, f"agreement{key}"), caption, said)


def _taught(setting: Setting, split: str) -> list[tuple[float, float, float]]:
    known = [run.answers[split] for run in setting.runs if split in run.answers]
    return [
        (a.accuracy, float(a.teachers_right.mean()), float(a.agrees.mean()))
        for a in known
        if a.teachers_right is not None and a.agrees is not None
    ]


def _rows(labels: Sequence[str], values: Sequence[str]) -> tuple[Figure, Axes, list[float]]:
    """Axes with a row for each label, from the ground up, a value on its right; and the heights of the rows' marks."""
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
