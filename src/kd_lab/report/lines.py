"""Pictures of lines: how accuracy runs with epochs, with noise, and with confidence."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from kd_lab.report import answers, drawing
from kd_lab.report.drawing import INK, Style
from kd_lab.report.pictures import Numbered, Picture, legend, seeds
from kd_lab.results import Result

FEW = 10  # answers of a bin that say nothing


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
        panel.set_title(who, fontsize=8)
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    if not drawn:
        return None
    axes[0].set_ylabel("validation accuracy %")
    caption = (
        "Validation accuracy after each epoch of the method itself: mean over seeds, the band from the lowest to the "
        f"highest seed ({seeds([s for _, s in settings])}).{shown}"
    )
    return Picture("Training curves", drawing.svg(figure, f"curves{key}"), caption, legend(drawn, f"curves{key}"))


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
        panel.set_title(kind, fontsize=8)
        panel.set_xlabel("noise p")
    axes[0].set_ylabel("test accuracy %")
    caption = (
        f"Test accuracy of the student as {' and '.join(kinds)} noise on the test sentences grows: mean over seeds, "
        f"the band from the lowest to the highest seed ({seeds([s for _, s in settings])}).{shown}"
    )
    return Picture("Under growing noise", drawing.svg(figure, f"noise{key}"), caption, legend(settings, f"noise{key}"))


def calibration(settings: Sequence[Numbered], shown: str, split: str, key: str) -> Picture | None:
    """Reliability diagram."""
    figure, (axes,) = drawing.canvas(215)
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.7)
    said, lowest = [], 100.0
    for number, setting in settings:
        if not (known := [run.answers[split] for run in setting.runs if split in run.answers]):
            continue
        confidence, right = (np.concatenate([getattr(one, name) for one in known]) for name in ("confidence", "right"))
        points = [point for point in answers.reliability(confidence, right) if point[0] >= FEW]
        how = drawing.style(number)
        axes.plot([100 * sure for _, sure, _ in points], [100 * right for *_, right in points], **drawing.drawn(how))
        lowest = min([lowest, *(100 * min(sure, right) for _, sure, right in points)])
        error = fmean(one.calibration_error for one in known)
        swatch = drawing.swatch(how, f"calibration{key}-{number}", line=True)
        said.append((swatch, f"{number + 1} {setting.label}: error {100 * error:.2f} points"))
    if not said:
        return None
    axes.set(xlabel="confidence %", ylabel=f"{split} accuracy %", xlim=(lowest - 3, 103), ylim=(lowest - 3, 103))
    caption = (
        f"Accuracy against confidence on the {split} rows, in 15 bins of equal width over all seeds "
        f"({seeds([s for _, s in settings])}), bins of under {FEW} answers left out. On the diagonal a student is as "
        "often right as it is sure; below it, it is too sure. Error: expected calibration error, mean over seeds."
        + shown
    )
    return Picture("Calibration", drawing.svg(figure, f"calibration{key}"), caption, said)


def _line(axes: Axes, x: Sequence[float], values: Any, how: Style) -> None:
    """The mean over the first axis of ``values`` [seeds, len(x)], and a band around it."""
    axes.plot(x, values.mean(axis=0), **drawing.drawn(how))
    if len(values) > 1:
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=how.color, alpha=0.15, linewidth=0)


def _noisy(result: Result, kind: str) -> dict[float, float]:
    return {0.0: 100 * result.student.test.accuracy} | {
        scores.p: 100 * scores.accuracy for scores in result.under_noise if scores.noise == kind
    }
