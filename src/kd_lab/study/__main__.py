"""The door: python -m kd_lab.study [PLAN] [stage=…] [name=value …]: listed settings at several seeds, in order."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from kd_lab import doors, files, sweeps, terminal
from kd_lab.errors import BusyError, UserError
from kd_lab.outcomes import Sweep
from kd_lab.sections import Section
from kd_lab.study import carrying, pace, plans
from kd_lab.study.plans import Job

USAGE = """What a plan lists, each setting at several seeds, in order; the same command goes on where it stopped.

python -m kd_lab.study [PLAN] [stage=STAGE] [name=value ...]

PLAN     a name in conf/study, or a file like those (default: sst2)
stage=   only this stage of it
keep=    a folder for what reports need of the runs, small and without sentences; what it holds is not run again
page=    a Markdown file for tables, verdicts and pictures of what keep= holds; nothing is run
list=    true says what there is to do, and does nothing

Every other word is one of kd_lab.run and is said to every run, such as data.path= and output_dir=.
Each stage is a sweep of its own: python -m kd_lab.report outputs/sweeps/PLAN-STAGE"""


class Ways(Section):
    """The door's own words."""

    stage: str | None = None
    keep: Path | None = None
    page: Path | None = None
    list: bool = False


def main() -> None:
    """Read the command line, carry out what is not finished, and show each stage."""
    doors.opened(USAGE, carry_out)


def carry_out(words: Sequence[str]) -> None:
    """What ``words`` ask for of a plan: its commands, its page, or all its jobs.

    Raises:
        UserError: before anything is run, for a plan or a setting that is wrong.
        SystemExit: with 1 where a job failed.
    """
    names, rest = doors.named(words, "one plan")
    ways, given = doors.own(Ways, rest)
    if own := [word for word in given if word.startswith("seed=")]:
        raise UserError(f"{own[0]}: the plan says which seeds; write one of your own")
    name = names[0] if names else "sst2"
    if ways.list:
        for job in plans.jobs(name, ways.stage, given):
            terminal.say(shlex.join(["python", "-m", "kd_lab.run", *job.words]))
    elif ways.page:
        if ways.stage is not None:
            raise UserError(f"stage={ways.stage}: a page is of all stages; leave it out")
        _write(name, ways.keep, ways.page, given)
    else:
        _carry_out(list(plans.jobs(name, ways.stage, given)), ways.keep)


def _write(name: str, keep: Path | None, path: Path, given: Sequence[str]) -> None:
    if keep is None:
        raise UserError(f"page={path}: name the folder of what is kept as well: keep=FOLDER")
    # Seconds of imports, after what can be refused.
    from kd_lab.study import page

    page.write(name, keep, path, given)


def _carry_out(todo: Sequence[Job], keep: Path | None) -> None:
    """Stage by stage, seed by seed, row by row; each stage ends in a table."""
    for place in filter(None, (todo[0].settings.output_dir, keep)):
        files.refuse_unwritable(place)
    failed = _run(todo, keep)
    for folder in dict.fromkeys(job.folder for job in todo):
        terminal.say(folder.name)
        failed |= sweeps.show(folder)
    if failed:
        raise SystemExit(1)


def _run(todo: Sequence[Job], keep: Path | None) -> bool:
    """Carry them out, and wait for other processes only when they have all that is left; returns whether any failed."""
    for folder in dict.fromkeys(job.folder for job in todo):
        count = sum(job.folder == folder for job in todo)
        folder.mkdir(parents=True, exist_ok=True)
        Sweep(jobs=count).write(folder)
    failed = False
    done = [(job, took) for job in todo if (took := pace.took(job)) is not None]
    kept = {job.words for job in todo if keep and carrying.is_kept(job, keep)}
    waiting = list(todo)
    while waiting:
        job = next((job for job in waiting if not carrying.elsewhere(job)), None)
        if job is None:
            terminal.say("other processes are at work on all that is left, or on its teachers: waiting for the first")
            carrying.wait(waiting)
            continue
        others = len(set().union(*(carrying.elsewhere(other) for other in waiting if other is not job)))
        still = [job for job in waiting if job.words not in kept]
        left = pace.time_left(still, done, processes=1 + others)
        which = f"{len(todo) - len(waiting) + 1} of {len(todo)}"
        terminal.say(f"{which}: {job.row}" + (f"; about {left} left" if left else ""))
        train = partial(carrying.result_of, job, keep)
        try:
            failed |= sweeps.attempt(job.folder, job.number, job.words, train, debug=job.settings.debug) is None
        except BusyError as error:  # since one looked
            terminal.say(f"another process is at work on {error.title}: something else first")
            continue
        waiting.remove(job)
        if (took := pace.took(job)) is not None:
            done.append((job, took))
    return failed


if __name__ == "__main__":
    main()
