"""What the dashboard shows: the metrics and settings that it names, and W&B's panels of them."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from wandb_workspaces.reports.v2 import interface as wr
from wandb_workspaces.reports.v2 import internal

Panels: TypeAlias = list[wr.PanelTypes]

STEP = "trainer/global_step"
JUDGED, TESTED, SIZE = "validation/accuracy", "test/accuracy", "student/parameters"
TABLE = "result"
SETTING = "setting"
"""The key under which :mod:`kd_lab.tracking` says all that a run is but its seed."""
GRID = ("method.name", "teacher", "student", "noise.name", "warmup_epochs", "seed")
SEARCHED = ("lr", "method.alpha", "method.temperature", "method.inner_lr", "method.teacher_lr")
GROUPS = (SETTING, "method.name", "teacher", "student", "noise.name", "warmup_epochs")
CURVES = {
    "Student: validation accuracy": ("validation/accuracy",),
    "Student: loss": ("train/loss", "validation/loss"),
    "Student: agreement with the teachers": ("train/agreement", "validation/agreement"),
    "Teachers: accuracy": ("teacher/validation/accuracy", "teacher/train/accuracy", "teacher/quiz/accuracy"),
    "Quiz: loss before and after the assumed step": ("quiz/loss_before", "quiz/loss"),
    "Teachers: norm of their gradient": ("teacher/gradient_norm",),
    "Teachers: cosine of successive gradients": ("teacher/gradient_cosine",),
    "Teachers: displacement from where they started": ("teacher/displacement",),
}
"""Title of each plot of curves and the metrics in it, all logged by a run of MetaDistil."""


class Column(wr.ParallelCoordinatesPlotColumn):
    """A column of a setting: settings are flat keys with dots in their names, which the package takes for nested."""

    def _to_model(self) -> internal.Column:
        return internal.Column(accessor=column(str(self.metric)), display_name=str(self.metric), log=self.log)


def column(setting: str) -> str:
    """How W&B addresses a flat key of the configuration."""
    return f"config:{setting}.value"


def accuracy() -> Panels:
    """Test accuracy by what the runs are: one bar per value, its length the mean, its line the range of the runs."""
    return [
        wr.BarPlot(
            title=f"{TESTED} by {name}: mean and range",
            metrics=[TESTED],
            # The whole key as W&B keeps it, or its dot would be taken for a nesting.
            groupby=f"{name}.value",
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=1000,
            max_bars_to_show=50,
            layout=wr.Layout(w=24, h=12) if name == SETTING else wr.Layout(w=12, h=8),
        )
        for name in GROUPS
    ]


def grid() -> Panels:
    """The grid of an ablation and the ranges of a search as parallel coordinates, each ending in what it is about."""
    return [
        wr.ParallelCoordinatesPlot(
            title="Grid", columns=_columns(GRID, (), TESTED), layout=wr.Layout(w=24, h=10)
        ),
        wr.ParallelCoordinatesPlot(
            title="Search", columns=_columns(SEARCHED, ("lr", "method.inner_lr", "method.teacher_lr"), JUDGED),
            layout=wr.Layout(w=24, h=10),
        ),
    ]  # fmt: skip


def _columns(
    settings: Iterable[str], logarithmic: Sequence[str], metric: str
) -> list[wr.ParallelCoordinatesPlotColumn]:
    shown = [Column(metric=name, log=name in logarithmic or None) for name in settings]
    return [*shown, wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(metric))]


def size() -> Panels:
    """Test accuracy against the student's parameters."""
    return [
        wr.ScatterPlot(
            title=f"{TESTED} against {SIZE}", x=wr.SummaryMetric(SIZE), y=wr.SummaryMetric(TESTED), log_x=True,
            layout=wr.Layout(w=24, h=10),
        )
    ]  # fmt: skip


def curves() -> Panels:
    """What the student, the teachers and the quiz did, over the student's steps."""
    return [
        wr.LinePlot(title=title, x=STEP, y=[*metrics], max_runs_to_show=100, layout=wr.Layout(w=12, h=8))
        for title, metrics in CURVES.items()
    ]


def table() -> Panels:
    """The table that every run logs at its end."""
    return [wr.WeavePanelSummaryTable(table_name=TABLE, layout=wr.Layout(w=24, h=10))]
