"""train(settings) -> Result: find the finished run, or make its teachers and then the run itself.

Nothing here imports torch before it is known that there is something to train.
"""

from contextlib import nullcontext
from dataclasses import replace

from kd_lab import catalogue, files, locks, memory, planning, process, results, terminal
from kd_lab.catalogue import Checkpoint
from kd_lab.errors import UserError
from kd_lab.planning import Plan, Purpose
from kd_lab.results import Result
from kd_lab.settings import Settings


def train(settings: Settings, purpose: Purpose = "single") -> Result:
    """Find the finished run that ``settings`` describe, or carry it out, its missing teachers first.

    Args:
        settings: checked.
        purpose: of :class:`kd_lab.planning.Plan`.

    Raises:
        UserError: for what only the user can put right.
    """
    return carry_out(planning.plan(settings, purpose))


def carry_out(run: Plan, *, wait: bool = True) -> Result:
    """The result of ``run``, from its folder where it is finished, else by training.

    Args:
        run: planned.
        wait: for other processes that are at work on it or on its teachers.

    Raises:
        UserError: for what only the user can put right.
        BusyError: if another process is at work and nobody waits, as nobody does among several processes.
    """
    if result := _found(run):
        return result
    files.refuse_unwritable(run.settings.output_dir)
    # Among several processes the first one holds it for all; if it waited, the others would begin without it.
    alone = not process.is_distributed()
    with nullcontext() if process.rank() else locks.held(run.folder, run.title, wait=wait and alone):
        # Whoever held it may have finished this very run.
        if result := _found(run):
            return result
        return _make(run, wait)


def _found(run: Plan) -> Result | None:
    """The result of a run that is finished, unless it is to be made again."""
    if run.settings.force or (result := run.finished()) is None:
        return None
    terminal.say(f"found finished: {run.title}")
    return result if run.purpose == "teacher" else _complete(run, result)


def _make(run: Plan, wait: bool) -> Result:
    """Train it, its missing teachers first."""
    if run.settings.data.rest:
        run.left  # noqa: B018  # refused now if there is nothing, not after the training
    if run.teachers:
        terminal.say(run.title)
    made = [_ready(teacher, wait) for teacher in run.teachers]
    memory.keep_freed()
    # Seconds of imports, spent only where something is trained.
    from kd_lab import launcher
    from kd_lab.training import fit_and_test

    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in run.splits.items())
    terminal.say(f"training {run.title} ({sizes})")
    if run.settings.trainer.devices == 1 or process.is_distributed():
        return fit_and_test(run, made)
    launcher.launch(run, made)
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
    result = carry_out(teacher, wait=wait)
    made = catalogue.locate(str(result.folder), teacher.settings.models)
    if not made.classifies:
        raise UserError(f"{result.folder} holds no classifier; delete the folder and run again")
    return replace(teacher.student, folder=made.folder, layers=None, classifies=True, run=made.run)
