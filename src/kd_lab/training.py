"""One run, carried out: warm-up, fit, test, save. Imported only where something is trained."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightning import seed_everything
from lightning.pytorch.loggers import Logger
from omegaconf import OmegaConf
from torch import Tensor

from kd_lab import (
    building,
    evaluation,
    findings,
    machine,
    models,
    naming,
    precision,
    process,
    quiet,
    ranks,
    remembered,
    results,
    tracking,
)
from kd_lab.catalogue import Checkpoint
from kd_lab.data import TextDataModule
from kd_lab.errors import UserError
from kd_lab.evaluation import Answers
from kd_lab.fitting import Fitting
from kd_lab.methods.finetune import Finetune
from kd_lab.models import TeacherEnsemble
from kd_lab.optimization import Optimization
from kd_lab.planning import Plan
from kd_lab.results import Result
from kd_lab.stopping import between_steps


def fit_and_test(run: Plan, teachers: Sequence[Checkpoint]) -> Result:
    """Carry out ``run`` with its teachers, all of them at hand.

    Args:
        run: planned.
        teachers: checkpoint of each member.

    Raises:
        UserError: for a teacher that knows nothing, weights that do not fit, or a loss that is no number.
    """
    training = Training(run, teachers)
    if process.rank():
        return training.follow()
    names = [teacher.name for teacher in teachers]
    with precision.of(run.settings.precision, run.settings.trainer.accelerator):
        training.examine_teachers()
        with _folder(training):
            labels: Any = (run.settings, run.title, run.student.name, names, training.folder)
            with tracking.loggers(*labels, one_of_many=run.purpose != "single") as loggers:
                result = training.carry_out(loggers)
    # An earlier result stays until this one is whole.
    shutil.rmtree(run.folder, ignore_errors=True)
    training.folder.rename(run.folder)
    ranks.wait()
    tracking.say_how_to_sync(loggers, run.folder)
    return result.model_copy(update={"folder": run.folder})


@contextmanager
def _folder(training: "Training") -> Iterator[None]:
    """The folder the run writes to, with what an interrupted one has left there to go on with.

    What a refused run has written is worth nothing but to whoever debugs it.
    """
    folder, settings = training.folder, training.settings
    try:
        if training.fitting.place is None:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output_dir={settings.output_dir}: cannot be written ({error.strerror})") from error
    try:
        yield
    except UserError:
        if not settings.debug:
            shutil.rmtree(folder)
        raise


class Training:
    """The models, data and method of one run, and the order of what is done with them.

    Args:
        run: planned.
        teachers: checkpoint of each member.
    """

    def __init__(self, run: Plan, teachers: Sequence[Checkpoint]):
        quiet.libraries()
        self.run, self.settings, self.checkpoints = run, run.settings, teachers
        self.folder = run.folder.with_name(f"{run.folder.name}.unfinished")
        self.before: dict[str, Answers] = {}
        self.fitting = Fitting(run.settings, run.fingerprint, self.folder)
        # The student's head is drawn first: it depends on the seed alone.
        seed_everything(run.settings.seed, verbose=False)
        self.student = models.load(run.student, run.rows.label_names, run.settings.data.max_length)
        members = list(self._members())
        self.teachers = TeacherEnsemble(members) if members else None
        encoders = [model.encoder for model in (self.student, *members)]
        self.data = TextDataModule.of(run.settings, run.rows, run.splits, encoders)
        self.machinery: Any = {
            "optimization": Optimization(run.settings.lr, run.settings.weight_decay),
            "micro_batch_size": run.settings.micro_batch_size,
            "seed": run.settings.seed,
        }
        self.method = building.build(
            run.settings.method, self.student, self.teachers, quiz=self.data.quiz_batch, **self.machinery
        )

    def examine_teachers(self) -> None:
        """See what the teachers know before anything is written.

        Raises:
            UserError: for one that knows nothing.
        """
        if self.teachers is not None:
            self.before = remembered.before(self.teachers, self.checkpoints, self.settings, self.data)
            self._refuse_ignorant_teachers()

    def follow(self) -> Result:
        """The part of a process that is not the first: it trains and writes nothing.

        Raises:
            UserError: if the first one has not brought it to an end.
        """
        with precision.of(self.settings.precision, self.settings.trainer.accelerator):
            self.examine_teachers()
            self.train([])
        ranks.wait()
        if (result := results.read(self.run.folder)) is None:
            raise UserError(f"{self.run.folder} holds no result; the same command goes on")
        return result

    def train(self, loggers: list[Logger]) -> None:
        """Warm up and fit."""
        if self.teachers is not None:
            if not self.method.teachers_learn:
                remembered.teach(self.teachers, self.checkpoints, self.settings, self.data)
            if self.settings.warmup_epochs:
                warm_up = Finetune(self.student, prefix="warmup/", **self.machinery)
                self.fitting.warm_up(warm_up, self.data, loggers)
        self.fitting.fit(self.method, self.data, loggers)

    def carry_out(self, loggers: list[Logger]) -> Result:
        """Warm up, fit, evaluate and save; result.json comes last."""
        fitting = self.fitting
        self.train(loggers)
        at_end = self._ask(self.method.validated)
        displacement = self._displacement()
        self.method.load_state_dict(fitting.best.weights, strict=False)
        best_epoch = fitting.best.epoch + 1
        answers = at_end if best_epoch == fitting.epochs else self._ask()
        self._save(answers)
        result = findings.result_of(
            run=self.run,
            student=self.student,
            teachers=list(self.teachers or []),
            checkpoints=self.checkpoints,
            learned=self.method.teachers_learn,
            before=self.before,
            best=answers,
            at_end=at_end,
            under_noise=self.run.under_noise(self.folder),
            rest=self.run.rest(self.folder),
            best_epoch=best_epoch,
            epochs=fitting.epochs,
            steps=fitting.steps,
            teacher_updates=self.method.teacher_updates,
            teacher_displacement=displacement,
            seconds=time.monotonic() - fitting.started,
        )
        tracking.show(loggers, result, evaluation.wrong(answers["test"], self.run.rows))
        result.write(self.folder)
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)  # until now it could go on from them
        return result

    def _members(self) -> Iterator[models.Classifier]:
        for teacher in self.checkpoints:
            yield models.load(teacher, self.run.rows.label_names, self.settings.data.max_length, trained=True)

    def _refuse_ignorant_teachers(self) -> None:
        majority = evaluation.majority(self.before["validation"].labels)
        for member, teacher in enumerate(self.checkpoints):
            accuracy = evaluation.scores(self.before, evaluation.member(member)).validation.accuracy
            if accuracy <= majority:
                ours = "train it longer (teacher_epochs) or choose another"
                theirs = f"choose another, or order its labels as {', '.join(self.run.rows.label_names)}"
                raise UserError(
                    f"teacher {teacher.name} has {accuracy:.1%} validation accuracy, no more than always saying the "
                    f"commonest label ({majority:.1%}): {ours if teacher.run else theirs}"
                )

    def _ask(self, validated: Sequence[dict[str, Tensor]] = ()) -> dict[str, Answers]:
        trainer = machine.trainer(self.settings, "evaluation", logger=False)
        with between_steps(trainer):
            return evaluation.ask(self.method, self.data, trainer, self.before, validated)

    def _displacement(self) -> float:
        """‖φ_end − φ_start‖ / ‖φ_start‖ over all teachers together."""
        if self.teachers is None or not self.method.teachers_learn:
            return 0.0
        moved = started = 0.0
        for member, start in zip(self.teachers, self._members(), strict=True):
            for now, then in zip(member.parameters(), start.parameters(), strict=True):
                moved += (now.detach().cpu().double() - then.detach().double()).square().sum().item()
                started += then.detach().double().square().sum().item()
        return float((moved / started) ** 0.5)

    def _save(self, answers: dict[str, Answers]) -> None:
        folder, run = self.folder, self.run
        self.student.save(folder / "student")
        if self.teachers is not None and self.method.teachers_learn:
            for place, teacher in enumerate(self.teachers):
                teacher.save(folder / naming.teacher_folder(place, teacher.name))
        sentences = {name: run.sentences(name) for name in answers}
        evaluation.write_predictions(folder / "predictions", answers, run.rows.label_names, sentences)
        (folder / "splits.json").write_text(json.dumps(dict(run.splits.items())) + "\n", encoding="utf-8")
        composed = self.settings.model_dump(mode="json", by_alias=True, exclude_unset=True)
        (folder / results.SETTINGS).write_text(OmegaConf.to_yaml(composed), encoding="utf-8")
