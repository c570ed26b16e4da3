"""What exports of the runs weigh and answer: a table and pictures of their own, since each has rows of its own."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from kd_lab import significance
from kd_lab.export import record
from kd_lab.export.record import Export, Weights
from kd_lab.report import drawing
from kd_lab.report.figures import Figures, percent, points
from kd_lab.report.gathering import Gathered
from kd_lab.report.pictures import Picture

Labelled = tuple[str, Export]
"""An export, and what it is called here."""


def find(folder: Path, gathered: Gathered) -> list[Labelled]:
    """The exports in ``folder``; those of runs that are gathered bear their labels."""
    labels = {
        run.result.fingerprint: f"{setting.label}, seed {run.result.seed}"
        for group in gathered.groups
        for setting in group.settings
        for run in setting.runs
    }
    every = [export for path in sorted(folder.glob(f"{record.FOLDER}/*")) if (export := record.read(path))]
    return [(_label(export, labels.get(export.fingerprint or "")), export) for export in every]


def _label(export: Export, run: str | None) -> str:
    """Of a run's teacher its folder as well, which starts with its number."""
    whose = f", teacher {Path(export.name).name}" if export.role == "teacher" else ""
    return f"{run}{whose}" if run else export.name


def figures(found: Sequence[Labelled]) -> list[Figures]:
    """One row per format of each."""
    return [dict(_of(label, export, weights)) for label, export in found for weights in export.weights]


def _of(label: str, export: Export, weights: Weights) -> Iterator[tuple[str, str]]:
    whole = export.of("folder")
    yield "setting", label
    yield "format", weights.format
    yield "megabytes", f"{weights.bytes / 1e6:.1f}"
    if whole:
        yield "of folder", f"{weights.bytes / whole.bytes:.2f}"
    yield "exported", percent(weights.accuracy)
    yield "exported difference", points(weights.accuracy - export.accuracy)
    yield "same label", percent(weights.agreement)
    yield "largest logit difference", f"{weights.difference:.1e}"
    yield "exported rows", f"{sum(export.rows.values()):,}"
    if weights.refused:
        yield "refused", weights.refused


def draw(found: Sequence[Labelled]) -> list[Picture]:
    """Accuracy against megabytes; a picture for each set of rows that exports were checked on."""
    ordered = sorted(found, key=lambda one: _rows(one[1]))
    sets = [list(same) for _, same in groupby(ordered, key=lambda one: _rows(one[1]))]
    return [_against_bytes(same, f"bytes{number}") for number, same in enumerate(sets)]


def _rows(export: Export) -> str:
    return json.dumps([export.data, export.rows], sort_keys=True)


def _against_bytes(found: Sequence[Labelled], key: str) -> Picture:
    """Full marks are float32, hollow ones 8 bits; a line joins the two of one model."""
    figure, (axes,) = drawing.canvas(215)
    rows, count = sum(found[0][1].rows.values()), len(found)
    for number, (_, export) in enumerate(found):
        moved, how = drawing.beside(axes, 7 * (number - (count - 1) / 2)), drawing.style(number)
        shown = [w for kind in ("onnx", "int8") if (w := export.of(kind)) and not w.refused] or export.weights[:1]
        marks = [(w.bytes / 1e6, 100 * w.accuracy) for w in shown]
        axes.plot(*zip(*marks, strict=True), color=how.color, linewidth=0.6, transform=moved)
        for w, (size, accuracy) in zip(shown, marks, strict=True):
            ends = [100 * end for end in significance.share(round(w.accuracy * rows), rows)]
            axes.plot([size] * 2, ends, " ")  # what is moved does not count for the axes' limits
            axes.plot([size] * 2, ends, color=how.color, linewidth=1, transform=moved)
            fill = "none" if w.format == "int8" else "full"
            axes.plot([size], [accuracy], how.marker, color=how.color, fillstyle=fill, markersize=6, transform=moved)
    axes.set_xlim(left=0)
    axes.margins(x=0.12, y=0.12)
    axes.set(xlabel="megabytes of weights", ylabel="accuracy %")
    caption = (
        f"Accuracy on {rows:,} rows against the size of the weights, with Wilson's 95% intervals over rows (one seed "
        "each). Full marks are ONNX of float32, hollow ones of 8 bits; marks are moved aside where they would meet."
    )
    legend = [
        (drawing.swatch(drawing.style(number), f"{key}-{number}", line=False), label)
        for number, (label, _) in enumerate(found)
    ]
    return Picture("Accuracy against size", drawing.svg(figure, key), caption, legend)
