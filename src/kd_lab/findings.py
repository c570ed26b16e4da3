"""From answers to a result: what a run found, in the form that is kept."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kd_lab import environment, evaluation, fingerprint, machine, results
from kd_lab.catalogue import Checkpoint
from kd_lab.evaluation import Answers
from kd_lab.models import Classifier
from kd_lab.planning import Plan
from kd_lab.results import DataResult, ModelResult, NoisyScores, Result, Scores, TeacherResult

Asked = Mapping[str, Answers]


def result_of(
    *,
    run: Plan,
    student: Classifier,
    teachers: Sequence[Classifier],
    checkpoints: Sequence[Checkpoint],
    learned: bool,
    before: Asked,
    best: Asked,
    at_end: Asked,
    under_noise: Sequence[NoisyScores],
    rest: Scores | None,
    **counts: float,
) -> Result:
    """The result of a run.

    Args:
        run: planned.
        student, teachers: as they are now; ``checkpoints`` is where the teachers came from.
        learned: whether the teachers were trained in this run.
        before, best, at_end: what all answered before training, at the best epoch and after the last.
        under_noise, rest: the student's scores at the best epoch.
        **counts: the further fields of :class:`kd_lab.results.Result`.
    """
    moments = (before, best, at_end)
    members = [
        _teacher(model, checkpoint, learned, *(evaluation.scores(asked, evaluation.member(k)) for asked in moments))
        for k, (model, checkpoint) in enumerate(zip(teachers, checkpoints, strict=True))
    ]
    found = {
        "student": _student(student, best),
        "teachers": members,
        "ensemble": evaluation.scores(best, lambda said: said.mean_teacher) if members else None,
        "under_noise": under_noise,
        "rest": rest,
        "times_smaller": max(t.parameters for t in members) / student.count_parameters() if members else None,
        "warnings": [*_origins(run, checkpoints), *_falls(members), *_ignorance(best["validation"])],
    }
    return Result.model_validate({**_description(run), **found, **counts})


def _description(run: Plan) -> dict[str, Any]:
    return {
        "schema": fingerprint.SCHEMA,
        "fingerprint": run.fingerprint,
        "name": run.title,
        "method": run.settings.method.name,
        "seed": run.settings.seed,
        "data": _data(run),
        "noise": run.settings.noise_in_words,
        "warmup_epochs": run.settings.warm_up,
        "versions": environment.versions(),
        "git_revision": environment.git_revision(),
        "processor": machine.processor(run.settings.trainer.accelerator),
    }


def _data(run: Plan) -> DataResult:
    sizes = {name: len(rows) for name, rows in run.splits.items()}
    dropped = {**run.splits.dropped, "empty": run.rows.empty}
    return DataResult(name=run.settings.data.name, digest=run.data_digest, sizes=sizes, dropped=dropped)


def _student(model: Classifier, best: Asked) -> ModelResult:
    return ModelResult(
        name=model.name,
        parameters=model.count_parameters(),
        milliseconds=1000 * best["test"].seconds / len(best["test"].labels),
        **dict(evaluation.scores(best, lambda said: said.student)),
    )


def _teacher(
    model: Classifier,
    checkpoint: Checkpoint,
    learned: bool,
    before: results.Snapshot,
    best: results.Snapshot,
    at_end: results.Snapshot,
) -> TeacherResult:
    return TeacherResult(
        name=model.name,
        parameters=model.count_parameters(),
        **dict(best),
        accuracy_before=before.test.accuracy,
        before=before,
        at_end=at_end,
        learned=learned,
        made_by=checkpoint.run.name if checkpoint.run else None,
    )


def _origins(run: Plan, teachers: Sequence[Checkpoint]) -> Iterator[str]:
    for name in dict.fromkeys(model.stands_for for model in (*teachers, run.student) if model.stands_for):
        yield f"a stand-in was used for {name}: the figures say nothing about {name}"
    for who, checkpoint in [("student", run.student), *(("teacher", teacher) for teacher in teachers)]:
        origin = results.read(checkpoint.run) if checkpoint.run else None
        if checkpoint.classifies and (origin is None or origin.data.digest != run.data_digest):
            yield f"{who} {checkpoint.name} was trained elsewhere: it may have seen the quiz and test rows"


def _ignorance(answers: Answers) -> Iterator[str]:
    share = evaluation.majority(answers.labels)
    if evaluation.score(answers.student, answers.labels).accuracy <= share:
        yield f"the student is no better than always saying the commonest label ({share:.2%}): train it longer"


def _falls(teachers: Sequence[TeacherResult]) -> Iterator[str]:
    for teacher in teachers:
        start = teacher.before.validation.accuracy
        moments = {teacher.at_end.validation.accuracy: "at the end", teacher.validation.accuracy: "at the best epoch"}
        for accuracy, moment in moments.items():
            if accuracy < start:
                yield f"teacher {teacher.name} fell from {start:.2%} to {accuracy:.2%} validation accuracy {moment}"
