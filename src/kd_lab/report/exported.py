"""What exports of the runs weigh and answer: rows of their own, since each was checked on rows of its own."""

from collections.abc import Iterator
from pathlib import Path

from kd_lab.export import record
from kd_lab.export.record import Export, Weights
from kd_lab.report.figures import Figures, percent, points
from kd_lab.report.gathering import Gathered


def find(folder: Path, gathered: Gathered) -> list[Figures]:
    """One per format of each export in ``folder``; those of runs that are gathered bear their labels."""
    labels = {
        run.result.fingerprint: f"{setting.label}, seed {run.result.seed}"
        for group in gathered.groups
        for setting in group.settings
        for run in setting.runs
    }
    every = [export for path in sorted(folder.glob(f"{record.FOLDER}/*")) if (export := record.read(path))]
    return [dict(_of(export, weights, labels)) for export in every for weights in export.weights]


def _of(export: Export, weights: Weights, labels: dict[str, str]) -> Iterator[tuple[str, str]]:
    run = labels.get(export.fingerprint or "")
    whole = export.of("folder")
    yield "setting", f"{run} ({export.role} {export.name})" if run else export.name
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
