"""One job of a study: found among what is kept, or carried out and kept; or another process is at work on it."""

import time
from collections.abc import Sequence
from pathlib import Path

from kd_lab import files, locks, results
from kd_lab.errors import UserError
from kd_lab.experiment import carry_out
from kd_lab.planning import Plan, plan
from kd_lab.results import Result
from kd_lab.study.plans import Job

PAUSE = 2.0
"""Seconds between two looks at what other processes are at work on."""
ROW = "row.txt"
"""In the folder of a run that is kept: the words that tell it from the others of its stage."""


def result_of(job: Job, keep: Path | None) -> Result:
    """Its result.

    Args:
        job: whose run is trained where it is neither kept nor finished.
        keep: has a folder for each stage, with what reports need of its runs; None keeps nothing. What one stage has
            of a run, another that asks for it takes over.

    Raises:
        UserError: for what only the user can put right.
        BusyError: if another process is at work on what it needs.
    """
    run = plan(job.settings, "job")
    if keep is None:
        return carry_out(run, wait=False)
    place = keep / job.folder.name
    row = place / run.folder.name / ROW
    if result := _kept(run, place):
        files.write_whole(row, job.row + "\n")  # a process may have ended between the two files
        return result
    # Seconds of imports, where something is kept.
    from kd_lab.report import keeping, runs

    result = _kept_anywhere(run, keep) or carry_out(run, wait=False)
    keeping.keep([runs.read(result)], place)
    files.write_whole(row, job.row + "\n")
    return result


def is_kept(job: Job, keep: Path) -> bool:
    """Whether any stage has its run already."""
    try:
        return _kept_anywhere(plan(job.settings), keep) is not None
    except UserError:  # said where it is carried out
        return False


def elsewhere(job: Job) -> set[Path]:
    """The folders that other processes are at work on: of its run, and of the teachers that it needs."""
    return {folder for folder in _needed(job) if locks.taken(folder)}


def wait(jobs: Sequence[Job]) -> None:
    """Until no other process is at work on one of ``jobs`` at least."""
    needed = [_needed(job) for job in jobs]
    while all(any(map(locks.taken, folders)) for folders in needed):
        time.sleep(PAUSE)


def _needed(job: Job) -> set[Path]:
    try:
        run = plan(job.settings)
    except UserError:  # said where it is carried out
        return set()
    return {one.folder for one in (run, *run.teachers) if isinstance(one, Plan)}


def _kept_anywhere(run: Plan, keep: Path) -> Result | None:
    return next(filter(None, (_kept(run, place) for place in sorted(keep.glob("*/")))), None)


def _kept(run: Plan, place: Path) -> Result | None:
    """What ``place`` keeps of this very run, where that is all that is asked for."""
    result = results.read(place / run.folder.name)
    return result if result and run.made(result) and (result.rest or not run.settings.data.rest) else None
