"""What models answer on validation and test, how good it is, and the file that keeps it."""

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning import Trainer
from torch import Tensor
from torch.nn.functional import cross_entropy

from kd_lab.data import OnePass, TextDataModule
from kd_lab.distiller import Distiller
from kd_lab.results import NoisyScores, Scores, Snapshot

EVALUATED = ("validation", "test")
HARDER = tuple((noise, p) for noise in ("word", "typos") for p in (0.1, 0.2, 0.3))
"""The noises under which every student is tested."""


@dataclass(frozen=True)
class Answers:
    """Logits on one split, in the split's order.

    Attributes:
        rows: [N], row numbers of the source.
        labels: [N].
        student: [N, C]; empty where it was not asked.
        teachers: [K, N, C]; empty where none were asked.
    """

    rows: Tensor
    labels: Tensor
    student: Tensor
    teachers: Tensor

    @property
    def mean_teacher(self) -> Tensor:
        """The logits of the teachers together, [N, C]."""
        return self.teachers.mean(dim=0)


def ask(
    method: Distiller,
    data: TextDataModule,
    trainer: Trainer,
    who: Collection[str] = ("student", "teachers"),
    known: Mapping[str, Answers] | None = None,
) -> dict[str, Answers]:
    """The answers of ``who`` on validation and test; ``known`` holds those of whoever is not asked again."""
    method.answering = who
    answers = {}
    for name in EVALUATED:
        table = _predict(method, data.one_pass(name), trainer)
        place = {row: i for i, row in enumerate(table["rows"].tolist())}
        order = [place[row] for row in data.parts[name].numbers]
        table = {key: value[order] for key, value in table.items()}
        student, teachers = torch.empty(0), torch.empty(0)
        if known and name in known:
            student, teachers = known[name].student, known[name].teachers
        if "teachers" in table:
            teachers = table["teachers"].transpose(0, 1)
        answers[name] = Answers(table["rows"], table["labels"], table.get("student", student), teachers)
    return answers


def ask_under_noise(method: Distiller, data: TextDataModule, trainer: Trainer) -> list[NoisyScores]:
    """The student's scores on the test split under each noise of ``HARDER``, the same for every run on these rows."""
    method.answering = ["student"]
    tables = {(noise, p): _predict(method, data.noisy_test(noise, p), trainer) for noise, p in HARDER}
    return [
        NoisyScores(noise=noise, p=p, **dict(score(table["student"], table["labels"])))
        for (noise, p), table in tables.items()
    ]


def _predict(method: Distiller, batches: OnePass, trainer: Trainer) -> dict[str, Tensor]:
    answers = trainer.predict(method, batches, return_predictions=True)
    assert answers is not None
    return {key: torch.cat([batch[key] for batch in answers]) for key in answers[0]}


def score(logits: Tensor, labels: Tensor) -> Scores:
    """Accuracy and loss of logits [N, C] on labels [N]."""
    right = (logits.argmax(dim=-1) == labels).double().mean().item()
    return Scores(accuracy=right, loss=cross_entropy(logits, labels).item(), rows=len(labels))


def majority(labels: Tensor) -> float:
    """The accuracy of always saying the commonest of ``labels`` [N]."""
    return labels.bincount().max().item() / len(labels)


def student_scores(answers: Mapping[str, Answers]) -> Snapshot:
    """The student's scores on every evaluated split."""
    return Snapshot(**{name: score(a.student, a.labels) for name, a in answers.items()})


def member_scores(answers: Mapping[str, Answers], member: int) -> Snapshot:
    """One teacher's scores on every evaluated split."""
    return Snapshot(**{name: score(a.teachers[member], a.labels) for name, a in answers.items()})


def ensemble_scores(answers: Mapping[str, Answers]) -> Snapshot:
    """The scores of the teachers' mean logits on every evaluated split."""
    return Snapshot(**{name: score(a.mean_teacher, a.labels) for name, a in answers.items()})


def write_predictions(folder: Path, answers: dict[str, Answers], label_names: tuple[str, ...]) -> None:
    """validation.csv and test.csv: row number, label, the student's prediction and logits, the teachers' prediction.

    No sentence is written: the row number finds it in its source.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, a in answers.items():
        taught = len(a.teachers) > 0
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(
                ["row", "label", "prediction", *(f"logit {n}" for n in label_names), *(["teachers"] if taught else [])]
            )
            teachers = a.mean_teacher.argmax(dim=-1).tolist() if taught else [None] * len(a.labels)
            for row, label, logits, teacher in zip(
                a.rows.tolist(), a.labels.tolist(), a.student, teachers, strict=True
            ):
                said = [label_names[label], label_names[int(logits.argmax())]]
                more = [label_names[teacher]] if teacher is not None else []
                table.writerow([row, *said, *(f"{value:.6g}" for value in logits.tolist()), *more])
