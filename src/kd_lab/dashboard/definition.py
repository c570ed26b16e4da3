"""The comparison of runs as W&B's package defines it: a workspace and a report, built without a network."""

from collections.abc import Callable
from typing import Any

import wandb_workspaces.workspaces as ws
from wandb_workspaces.reports.v2 import interface as wr

from kd_lab.dashboard import panels

NAME = "kd_lab: comparison"
COLUMNS = [*map(panels.column, panels.GRID), *(f"summary:{m}" for m in (panels.TESTED, panels.JUDGED, panels.SIZE))]
"""What the table of runs shows first."""
PARTS = {
    "Accuracy by method and pair": (
        panels.accuracy,
        "A bar is the mean over the runs of one value, its line reaches from the lowest run to the highest. The runs "
        "of one setting differ in their seed, and in what its name does not say, such as the learning rate. Which "
        "differences are more than chance cannot be read off bars.",
    ),
    "The grid": (
        panels.grid,
        "Each line is a run. A search is judged on validation accuracy; the test split has no say in it.",
    ),
    "Accuracy against parameters": (panels.size, "Parameters of the student, embeddings and head included."),
    "Student, teachers and quiz": (
        panels.curves,
        "Over the student's steps. The teachers' and the quiz's curves belong to runs whose teachers learn.",
    ),
    "Results": (panels.table, "The table that every run logs: student and teachers, at the student's best epoch."),
}
"""Title of each part, its panels, and what a reader should know of them."""


def workspace(entity: str, project: str) -> ws.Workspace:
    """The workspace: one open section per part, over all runs of ``project``.

    Args:
        entity: user or team; empty for whoever is logged in.
        project: where the runs are.
    """
    layout = ws.SectionLayoutSettings(columns=2, rows=4)
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            ws.Section(name=title, panels=_numbered(build(), title), is_open=True, layout_settings=layout)
            for title, (build, _) in PARTS.items()
        ],
        settings=ws.WorkspaceSettings(x_axis=panels.STEP, max_runs=100),
        runset_settings=ws.RunsetSettings(pinned_columns=list(COLUMNS)),
    )


def report(entity: str, project: str) -> wr.Report:
    """The report: the same parts with a sentence or two each; arguments as for :func:`workspace`."""
    blocks: list[Any] = [wr.TableOfContents()]
    for title, (build, said) in PARTS.items():
        # A set of runs that names no project is of the report's own.
        runs = wr.Runset(name="All runs", pinned_columns=list(COLUMNS))
        runs._id = f"runs{len(blocks)}"
        blocks += [wr.H2(title), wr.P(said), wr.PanelGrid(runsets=[runs], panels=_numbered(build(), title))]
    return wr.Report(
        entity=entity,
        project=project,
        title=NAME,
        description="Made by python -m kd_lab.dashboard",
        blocks=blocks,
        width="fluid",
    )


BUILD: dict[str, Callable[[str, str], ws.Workspace | wr.Report]] = {"workspace": workspace, "report": report}
"""Both, by the names of their files."""


def as_json(made: ws.Workspace | wr.Report) -> dict[str, Any]:
    """What W&B would be sent, as its package serialises it."""
    return made._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)


def _numbered(made: panels.Panels, title: str) -> panels.Panels:
    """``made`` with ids that are the same each time, where the package draws them at random."""
    for number, panel in enumerate(made, 1):
        assert isinstance(panel, wr.Panel)
        panel._id = f"{title.lower().replace(' ', '-')}-{number}"
    return made
