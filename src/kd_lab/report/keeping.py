"""What a report needs of runs, small enough to be committed: no models, no sentences, no folders of this machine."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from kd_lab import files, results
from kd_lab.report import answers
from kd_lab.report.runs import Run

ELSEWHERE = {"path", "output_dir"}
"""Settings that name places."""


def keep(runs: Sequence[Run], place: Path) -> None:
    """Write each run's result, settings, curves and answers below ``place``; reports are made of it as of the runs.

    Raises:
        UserError: if ``place`` holds other rows of the same data.
    """
    for run in runs:
        result, folder = run.result, place / run.result.folder.name
        folder.mkdir(parents=True, exist_ok=True)
        settings = _without_places(results.settings_in(result.folder))
        files.write_whole(folder / results.SETTINGS, yaml.safe_dump(settings, sort_keys=False))
        with suppress(FileNotFoundError):  # then it has no curves, as in any report
            shutil.copyfile(result.folder / "metrics.csv", folder / "metrics.csv")
        for split, those in run.answers.items():
            answers.keep(those, folder, result.data.digest, split)
        result.write(folder)


def _without_places(config: object) -> object:
    if isinstance(config, str):
        return "+".join(map(_without_folders, config.split("+")))
    if not isinstance(config, dict):
        return config
    return {name: _without_places(value) for name, value in config.items() if name not in ELSEWHERE}


def _without_folders(name: str) -> str:
    """A model's folder by its own name alone, that of a run's student with the run's."""
    path = Path(name)
    if not path.is_absolute():
        return name
    return f"{path.parent.name}/{path.name}" if path.name == "student" else path.name
