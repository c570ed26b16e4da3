"""What a sweep keeps in files: how many jobs it has, and what became of each."""

import itertools
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, Field

from kd_lab import files, results
from kd_lab.results import Result

JOBS = "jobs"
SWEEP = "sweep.json"


class Outcome(BaseModel):
    """What became of one job.

    Attributes:
        number: of the job, from 0.
        words: of the command line that would run this job alone.
        folder: of its finished run, or None.
        error: one line, or None.
        seconds: that it took, its teachers included.
    """

    number: int
    words: list[str]
    folder: Path | None = None
    error: str | None = None
    seconds: float = 0

    @property
    def result(self) -> Result | None:
        """What its run found."""
        return results.read(self.folder) if self.folder else None

    def write(self, sweep: Path) -> None:
        """Into the folder of the sweep."""
        path = _file(sweep, self.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, self.model_dump_json(indent=2) + "\n")


class Sweep(BaseModel):
    """A sweep's jobs, in all, and when it started, in seconds since 1970."""

    jobs: int
    started: float = Field(default_factory=time.time)

    def write(self, folder: Path) -> None:
        """Into the folder of the sweep."""
        files.write_whole(folder / SWEEP, self.model_dump_json() + "\n")


def outcomes(folder: Path) -> list[Outcome]:
    """The outcomes that a sweep's folder holds so far, in the order of their jobs."""
    return [outcome for path in sorted((folder / JOBS).glob("*.json")) if (outcome := _read(path))]


def outcome_of(folder: Path, number: int) -> Outcome | None:
    """The outcome of a sweep's job, where it has one."""
    return _read(_file(folder, number))


def sweep_of(folder: Path) -> Sweep | None:
    """The sweep of a folder; None where its file is damaged."""
    try:
        return Sweep.model_validate_json((folder / SWEEP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def own_folder(named: Path) -> Path:
    """The folder ``named``, made here, or one beside it: another sweep may have begun within the same second."""
    for number in itertools.count(1):
        folder = named if number == 1 else named.with_name(f"{named.name}-{number}")
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (folder / SWEEP).touch(exist_ok=False)
            return folder
    raise AssertionError


def _file(sweep: Path, number: int) -> Path:
    return sweep / JOBS / f"{number:05}.json"


def _read(path: Path) -> Outcome | None:
    try:
        return Outcome.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
