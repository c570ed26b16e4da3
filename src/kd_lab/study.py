"""The door: python -m kd_lab.study [PLAN] [stage=…] [name=value …]: listed settings at several seeds, in order."""

import shlex
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from kd_lab import doors, results, settings, sweeps, terminal
from kd_lab.errors import UserError
from kd_lab.outcomes import SWEEP, Sweep, outcome_of
from kd_lab.sections import Section, Text, Whole
from kd_lab.settings import CONF, Settings

PLANS = CONF / "study"
USAGE = """What a plan lists, each setting at several seeds, in order; the same command goes on where it stopped.

python -m kd_lab.study [PLAN] [stage=STAGE] [name=value ...]

PLAN     a name in conf/study, or a file like those (default: sst2)
stage=   only this stage of it
list=    true says what there is to do, and does nothing

Every other word is one of kd_lab.run and is said to every run, such as data.path= and output_dir=.
Each stage is a sweep of its own: python -m kd_lab.report outputs/sweeps/PLAN-STAGE"""


class Ways(Section):
    """The door's own words."""

    stage: str | None = None
    list: bool = False


class Stage(Section):
    """Rows, each the words of one setting, and the seeds that each is run at; ``words`` are said to all of them."""

    words: str = ""
    seeds: Annotated[tuple[Whole, ...], Field(min_length=1)]
    rows: Annotated[tuple[Text, ...], Field(min_length=1)]


class Plan(Section):
    """Stages in the order of what each would teach; ``words`` are said to every run."""

    words: str = ""
    stages: Annotated[dict[str, Stage], Field(min_length=1)]


@dataclass(frozen=True)
class Job:
    """One run of a stage.

    Attributes:
        folder: of the stage's outcomes.
        number: in the stage, from 0.
        row: the words that tell it from others, and its seed.
        words: of the command that would run this job alone.
        settings: checked.
    """

    folder: Path
    number: int
    row: str
    words: tuple[str, ...]
    settings: Settings

    @property
    def kind(self) -> tuple[str, int]:
        """What decides how long an epoch takes: the method and its number of teachers."""
        method = self.settings.method
        return method.name, len(self.settings.teacher_names) if method.uses_teachers else 0

    @property
    def epochs(self) -> int:
        """Of the warm-up as well."""
        warmup = self.settings.warmup_epochs if self.settings.method.uses_teachers else 0
        return self.settings.max_epochs + warmup


def main() -> None:
    """Read the command line, carry out what is not finished, and show each stage."""
    doors.opened(USAGE, carry_out)


def carry_out(words: Sequence[str]) -> None:
    """All jobs of the plan that ``words`` name, stage by stage, seed by seed, row by row.

    Raises:
        UserError: before anything is run, for a plan or a setting that is wrong.
        SystemExit: with 1 where a job failed.
    """
    names = doors.names_among(words)
    if len(names) > 1:
        raise UserError(f"name one plan; got {' '.join(names)}")
    ways, rest = doors.own(Ways, words)
    given = [word for word in rest if word not in names]
    if own := [word for word in given if word.startswith("seed=")]:
        raise UserError(f"{own[0]}: the plan says which seeds; write one of your own")
    name = names[0] if names else "sst2"
    todo = list(jobs(name, ways.stage, given))
    if ways.list:
        for job in todo:
            terminal.say(shlex.join(["python", "-m", "kd_lab.run", *job.words]))
        return
    results.refuse_unwritable(todo[0].settings.output_dir)
    failed = _run(todo)
    for folder in dict.fromkeys(job.folder for job in todo):
        terminal.say(folder.name)
        failed |= sweeps.show(folder)
    if failed:
        raise SystemExit(1)


def jobs(name: str, stage: str | None, given: Sequence[str]) -> Iterator[Job]:
    """The jobs of a plan, in order.

    Args:
        name: of the plan, or its file.
        stage: the only one; None for all.
        given: words for every run.

    Raises:
        UserError: naming what is wrong.
    """
    plan = read(name)
    if stage is not None and stage not in plan.stages:
        raise UserError(f"stage={stage}: the plan has {', '.join(plan.stages)}")
    for title, part in plan.stages.items():
        if stage in (None, title):
            yield from _of_stage(f"{Path(name).stem}-{title}", f"{plan.words} {part.words}".split(), part, given)


def _of_stage(title: str, shared: Sequence[str], stage: Stage, given: Sequence[str]) -> Iterator[Job]:
    checked = [settings.check(settings.compose([*shared, *row.split(), *given])) for row in stage.rows]
    folder = checked[0].output_dir / "sweeps" / title
    for i, seed in enumerate(stage.seeds):
        for j, (row, plain) in enumerate(zip(stage.rows, checked, strict=True)):
            words = (*shared, *row.split(), *given, f"seed={seed}")
            of_seed = plain.model_copy(update={"seed": seed})
            yield Job(folder, i * len(stage.rows) + j, f"{row} seed={seed}", words, of_seed)


def read(name: str) -> Plan:
    """The plan of that name, or in that file.

    Raises:
        UserError: if there is none, or what is in it is no plan.
    """
    path = next((path for path in (Path(name), PLANS / f"{name}.yml") if path.is_file()), None)
    if path is None:
        raise UserError(f"there is no plan {name}; name a file or one of {', '.join(p.stem for p in PLANS.iterdir())}")
    try:
        return Plan.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _run(todo: Sequence[Job]) -> bool:
    """Carry them out; returns whether any failed."""
    for folder in dict.fromkeys(job.folder for job in todo):
        count = sum(job.folder == folder for job in todo)
        folder.mkdir(parents=True, exist_ok=True)
        results.write_whole(folder / SWEEP, Sweep(jobs=count, started=time.time()).model_dump_json() + "\n")
    failed = False
    done = [(job, took) for job in todo if (took := _took(job)) is not None]
    for i, job in enumerate(todo):
        left = time_left(todo[i:], done)
        terminal.say(f"{i + 1} of {len(todo)}: {job.row}" + (f"; about {left} left" if left else ""))

        def train(job: Job = job) -> results.Result:
            # Not at the top: a mistake answers before it.
            from kd_lab.experiment import train

            return train(job.settings, one_of_many=True)

        failed |= sweeps.attempt(job.folder, job.number, job.words, train, debug=job.settings.debug) is None
        if (took := _took(job)) is not None:
            done.append((job, took))
    return failed


def _took(job: Job) -> float | None:
    """Seconds that it took; None where it has not been carried out."""
    outcome = outcome_of(job.folder, job.number)
    result = outcome.result if outcome and tuple(outcome.words) == job.words else None
    # What was found finished took no time, this time.
    return max(outcome.seconds, result.seconds) if outcome and result else None


def time_left(left: Sequence[Job], done: Sequence[tuple[Job, float]]) -> str:
    """How long the jobs ``left`` will take, by the seconds of those that are ``done``; nothing where none is."""
    paces: dict[tuple[str, int], list[float]] = defaultdict(list)
    for job, seconds in done:
        paces[job.kind].append(seconds / job.epochs)
    if not paces:
        return ""
    usual = fmean(median(those) for those in paces.values())
    ended = {job.words for job, _ in done}
    still = [job for job in left if job.words not in ended]
    return terminal.duration(sum(job.epochs * median(paces.get(job.kind, [usual])) for job in still))


if __name__ == "__main__":
    main()
