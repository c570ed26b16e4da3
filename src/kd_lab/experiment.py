"""train(settings) -> Result: find the finished run, or make its teachers and then the run itself.

Nothing here imports torch before it is known that there is something to train.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

from kd_lab import catalogue, fingerprint, locks, memory, rank, results, sources, splits, teachers, terminal
from kd_lab.catalogue import Checkpoint
from kd_lab.errors import UserError
from kd_lab.results import NoisyScores, Result, Scores
from kd_lab.settings import Data, Settings
from kd_lab.sources import Rows
from kd_lab.splits import Splits


@dataclass(frozen=True)
class Plan:
    """A run before it happens: everything that decides its result is here and has been looked up.

    Attributes:
        settings: of the run.
        rows, splits: its data.
        data_digest: of their content.
        student: the checkpoint it starts from.
        teachers: one per member: the run that makes it, or a classifier that is there already.
    """

    settings: Settings
    rows: Rows = field(repr=False)
    splits: Splits = field(repr=False)
    data_digest: str
    student: Checkpoint
    teachers: "tuple[Plan | Checkpoint, ...]"

    @property
    def distils(self) -> bool:
        """Whether the method has teachers, and so a warm-up."""
        return self.settings.method.uses_teachers

    @property
    def noise(self) -> str:
        """Name and probability of the noise, or none."""
        return self.settings.noise_in_words

    @property
    def warmup_epochs(self) -> int:
        """Epochs of warm-up; none without teachers."""
        return self.settings.warmup_epochs if self.distils else 0

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that decides the result, 64 hexadecimal digits."""
        identities = [t.fingerprint if isinstance(t, Plan) else t.identity() for t in self.teachers]
        return fingerprint.run_digest(
            self.settings, self.data_digest, self.student.identity(), identities, distils=self.distils
        )

    @property
    def title(self) -> str:
        """What a person calls the run: method, teachers, student, data and what is special about it."""
        s = self.settings
        names = [t.student.name if isinstance(t, Plan) else t.name for t in self.teachers]
        who = f"{' + '.join(names)} → {self.student.name}" if names else self.student.name
        extras = [f"{self.noise} noise"] if self.noise != "none" else []
        extras += [f"warm-up {self.warmup_epochs}"] if self.warmup_epochs else []
        return ", ".join([f"{s.method.name}: {who} on {s.data.name}", *extras, f"seed {s.seed}"])

    @cached_property
    def folder(self) -> Path:
        """Named after the run, with the head of its fingerprint; never with a +."""
        words = self.title.replace(" + ", "-and-").replace(" → ", "-to-").replace(": ", "_").replace(", ", "_")
        plain = "".join(
            c if c.isalnum() or c in "._-" else "-" for c in words.replace(" on ", "_").replace("seed ", "seed")
        )
        return self.settings.output_dir / f"{results.shortened(plain, 150)}_{self.fingerprint[:8]}"

    def under_noise(self, folder: Path) -> list[NoisyScores]:
        """The scores on the test split under noise of the student in ``folder``, where this run has written it."""
        from kd_lab import evaluation

        student = Checkpoint(self.student.name, folder / "student", classifies=True)
        return evaluation.under_noise(student, self.settings, self.rows, self.splits.test)

    def rest(self, folder: Path) -> Scores | None:
        """That student's scores on all that is left, where they are asked for; its answers lie beside the others."""
        from kd_lab import evaluation

        s, rows = self.settings, self.rows
        if not s.data.rest:
            return None
        if not (left := splits.rest(rows.texts, rows.labels, self.splits, s.data.holdout)):
            raise UserError("data.rest=true: the splits leave no row; make data.train smaller")
        student = Checkpoint(self.student.name, folder / "student", classifies=True)
        return evaluation.rest(student, s, rows, left, folder / "predictions")

    def sentences(self, name: str) -> Sequence[int]:
        """Of each row of a split, the number of the row that holds its whole sentence."""
        numbers = dict(self.splits.items())[name]
        if self.settings.data.holdout == "sentence":  # held-out texts stand inside no other
            return numbers
        return splits.sentences(self.rows.texts, self.rows.labels, numbers)

    def finished(self) -> Result | None:
        """The result of this very run, where it has been carried out already."""
        result = results.read(self.folder)
        return result if result and self.made(result) else None

    def made(self, result: Result) -> bool:
        """Whether ``result`` is this very run's."""
        return (result.version, result.fingerprint) == (fingerprint.SCHEMA, self.fingerprint)


def plan(settings: Settings) -> Plan:
    """Look up data, student and teachers; download what is missing.

    Raises:
        UserError: if any of it cannot be had.
    """
    for name in (settings.student, *(settings.teacher_names if settings.method.uses_teachers else ())):
        catalogue.refuse_unknown(name, settings.models)
    rows, cut, digest = _data(settings.data, sources.stamp(settings.data.path))
    if (wanted := settings.method.quiz_rows) and wanted > len(cut.quiz):
        raise UserError(f"method.quiz_rows={wanted}: the quiz has {len(cut.quiz)} rows; make data.quiz larger")
    return _plan(settings, rows, cut, digest)


@lru_cache(maxsize=4)
def _data(data: Data, stamp: tuple[object, ...]) -> tuple[Rows, Splits, str]:
    """Once for all jobs of a sweep; ``stamp`` changes with the files."""
    rows = sources.load(data)
    cut = splits.cut(rows.texts, rows.labels, data.sizes, data.holdout, data.seed, rows.validation)
    return rows, cut, fingerprint.data_digest(rows, cut, data.max_length)


def _plan(settings: Settings, rows: Rows, cut: Splits, digest: str) -> Plan:
    student = catalogue.locate(settings.student, settings.models)
    members: list[Plan | Checkpoint] = []
    if settings.method.uses_teachers:
        for name, making in teachers.members(settings):
            teacher = catalogue.locate(name, settings.models)
            members.append(teacher if teacher.classifies else _plan(making, rows, cut, digest))
    return Plan(settings, rows, cut, digest, student, tuple(members))


def train(settings: Settings, *, one_of_many: bool = False) -> Result:
    """Find the finished run that ``settings`` describe, or carry it out, its missing teachers first.

    Args:
        settings: checked.
        one_of_many: a job of a sweep: names and ids that W&B's variables give to a single run are not for it.

    Raises:
        UserError: for what only the user can put right.
    """
    return carry_out(plan(settings), one_of_many=one_of_many)


def carry_out(run: Plan, *, one_of_many: bool = False, asked_for: bool = True, wait: bool = True) -> Result:
    """The result of ``run``, from its folder where it is finished, else by training.

    Args:
        run: planned.
        one_of_many: see :func:`train`.
        asked_for: whether somebody wants this very result; else the run serves as a teacher.
        wait: for other processes that are at work on it or on its teachers.

    Raises:
        UserError: for what only the user can put right.
        BusyError: if another process is at work and nobody waits.
    """
    if result := _found(run, asked_for=asked_for):
        return result
    results.refuse_unwritable(run.settings.output_dir)
    # Among several processes the first one holds it for all.
    with nullcontext() if rank.number() else locks.held(run.folder, run.title, wait=wait):
        # Whoever held it may have finished this very run.
        if result := _found(run, asked_for=asked_for):
            return result
        return _make(run, one_of_many=one_of_many, asked_for=asked_for, wait=wait)


def _found(run: Plan, *, asked_for: bool) -> Result | None:
    """The result of a run that is finished, unless it is to be made again."""
    if run.settings.force or (result := run.finished()) is None:
        return None
    terminal.say(f"found finished: {run.title}")
    return _complete(run, result) if asked_for else result


def _make(run: Plan, *, one_of_many: bool, asked_for: bool, wait: bool) -> Result:
    """Train it, its missing teachers first."""
    if run.teachers:
        terminal.say(run.title)
    made = [_ready(teacher, wait) for teacher in run.teachers]
    memory.keep_freed()
    # Seconds of imports, spent only where something is trained.
    from kd_lab import crew
    from kd_lab.training import fit_and_test

    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in run.splits.items())
    terminal.say(f"training {run.title} ({sizes})")
    options = {"one_of_many": one_of_many, "asked_for": asked_for}
    if run.settings.trainer.devices == 1 or rank.among_others():
        return fit_and_test(run, made, **options)
    crew.carry_out(run, made, options)
    result = results.read(run.folder)
    assert result is not None
    return result


def _complete(run: Plan, result: Result) -> Result:
    """With what a teacher is spared until somebody asks for its own result, and what was not asked for at first."""
    left = run.settings.data.rest and result.rest is None
    if result.under_noise and not left:
        return result
    # The finished student is asked again: only where it is still the one that the run wrote.
    catalogue.locate(str(run.folder), run.settings.models)
    more: dict[str, object] = {}
    if not result.under_noise:
        terminal.say("testing it under noise")
        more["under_noise"] = run.under_noise(run.folder)
    if left:
        terminal.say("testing it on all that is left")
        more["rest"] = run.rest(run.folder)
    whole = result.model_copy(update=more)
    whole.write(run.folder)
    return whole


def _ready(teacher: Plan | Checkpoint, wait: bool) -> Checkpoint:
    """A teacher's checkpoint, made first where it is missing."""
    if isinstance(teacher, Checkpoint):
        return teacher
    if teacher.finished() is None:
        terminal.say(
            f"no finished teacher {teacher.student.name} (seed {teacher.settings.seed}) yet: fine-tuning it first"
        )
    result = carry_out(teacher, one_of_many=True, asked_for=False, wait=wait)
    made = catalogue.locate(str(result.folder), teacher.settings.models)
    if not made.classifies:
        raise UserError(f"{result.folder} holds no classifier; delete the folder and run again")
    return replace(teacher.student, folder=made.folder, layers=None, classifies=True, run=made.run)
