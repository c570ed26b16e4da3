"""What models answer on validation and test, how good it is, and the file that keeps it."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from torch import Tensor
from torch.nn.functional import cross_entropy

from kd_lab import machine, models, precision, quiet, splits
from kd_lab.catalogue import Checkpoint
from kd_lab.data import EncodedRows, OnePass, TextDataModule
from kd_lab.distiller import Distiller
from kd_lab.methods.finetune import Finetune
from kd_lab.models import Classifier
from kd_lab.noise import Noise, vocabulary
from kd_lab.results import NoisyScores, Scores, Snapshot
from kd_lab.settings import Settings
from kd_lab.sources import Rows
from kd_lab.stopping import between_steps

EVALUATED = ("validation", "test")
HARDER = tuple((noise, p) for noise in ("word", "typos") for p in (0.1, 0.2, 0.3))
"""The noises under which every student is tested."""


MOST_MISTAKES = 200


@dataclass(frozen=True)
class Answers:
    """Logits on one split, in the split's order.

    Attributes:
        rows: [N], row numbers of the source.
        labels: [N].
        student: [N, C]; empty where it was not asked.
        teachers: [K, N, C]; empty where none were asked.
        seconds: that the student took; 0 where it was not asked.
    """

    rows: Tensor
    labels: Tensor
    student: Tensor
    teachers: Tensor
    seconds: float = 0.0

    @property
    def mean_teacher(self) -> Tensor:
        """The logits of the teachers together, [N, C]."""
        return self.teachers.mean(dim=0)


def ask(
    method: Distiller,
    data: TextDataModule,
    trainer: Trainer,
    before: Mapping[str, Answers],
    validated: Sequence[dict[str, Tensor]] = (),
) -> dict[str, Answers]:
    """The answers of student and teachers on validation and test; teachers that stand still are not asked again.

    Args:
        method, data, trainer: of the run.
        before: what the teachers answered before it, empty without any.
        validated: the method's answers on validation with its weights as they are now, where it has just given them.
    """
    answers = {}
    for name in EVALUATED:
        batches, method.seconds = data.one_pass(name), 0.0
        kept = validated if name == "validation" else ()
        table = _in_order(kept, batches) if kept else _predict(method, batches, trainer)
        teachers = before[name].teachers if name in before else torch.empty(0)
        if "teachers" in table:
            teachers = table["teachers"].transpose(0, 1)
        answers[name] = Answers(table["rows"], table["labels"], table["student"], teachers, method.seconds)
    return answers


def under_noise(checkpoint: Checkpoint, settings: Settings, rows: Rows, numbers: Sequence[int]) -> list[NoisyScores]:
    """The scores of a finished classifier on the rows ``numbers`` under each noise of ``HARDER``.

    The noisy sentences are the same for every run on these rows; the arguments are those of :func:`logits`.
    """
    model = _finished(checkpoint, settings, rows)
    return [
        NoisyScores(noise=name, p=p, **dict(score(*answers(model, settings, rows, numbers, Noise(name, p)))))
        for name, p in HARDER
    ]


def rest(checkpoint: Checkpoint, settings: Settings, rows: Rows, numbers: Sequence[int], folder: Path) -> Scores:
    """The scores of a finished classifier on the rows ``numbers``, its answers in ``folder``/rest.csv.

    The arguments are those of :func:`logits`.
    """
    said, labels = answers(_finished(checkpoint, settings, rows), settings, rows, numbers)
    found = {"rest": Answers(torch.tensor(numbers), labels, said, torch.empty(0))}
    sentences = splits.sentences(rows.texts, rows.labels, numbers)
    write_predictions(folder, found, rows.label_names, {"rest": sentences})
    return score(said, labels)


def logits(checkpoint: Checkpoint, settings: Settings, rows: Rows, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The logits [N, C] of a finished classifier on the N rows ``numbers``, and their labels [N].

    Args:
        checkpoint: of the classifier.
        settings: precision, machine, length of the texts, and the noise that is done to them.
        rows: of the source.
        numbers: which of them.
    """
    noise = settings.noise
    words = vocabulary(rows.texts[number] for number in numbers) if noise.name == "vocabulary" else ()
    model = _finished(checkpoint, settings, rows)
    return answers(model, settings, rows, numbers, Noise(noise.name, noise.p, settings.seed, words))


def _finished(checkpoint: Checkpoint, settings: Settings, rows: Rows) -> Classifier:
    quiet.libraries()
    return models.load(checkpoint, rows.label_names, settings.data.max_length, trained=True)


def answers(
    model: Classifier, settings: Settings, rows: Rows, numbers: Sequence[int], noise: Noise | None = None
) -> tuple[Tensor, Tensor]:
    """The logits [N, C] of ``model`` on the N rows ``numbers`` under ``noise``, and their labels [N]."""
    part = EncodedRows(rows, numbers, [model.encoder], noise=noise)
    trainer = machine.trainer(settings, "evaluation", logger=False)
    with precision.of(settings.precision, settings.trainer.accelerator), between_steps(trainer):
        table = _predict(Finetune(model), OnePass(part, epoch=0), trainer)
    return table["student"], table["labels"]


def _predict(method: Distiller, batches: OnePass, trainer: Trainer) -> dict[str, Tensor]:
    answers = trainer.predict(method, batches, return_predictions=True)
    assert answers is not None
    return _in_order(answers, batches)


def _in_order(answers: Sequence[Any], batches: OnePass) -> dict[str, Tensor]:
    """Answers in the order of the rows, not of the batches."""
    table = {key: torch.cat([batch[key] for batch in answers]) for key in answers[0]}
    place = {row: i for i, row in enumerate(table["rows"].tolist())}
    order = [place[row] for row in batches.part.numbers]
    return {key: value[order] for key, value in table.items()}


def score(logits: Tensor, labels: Tensor) -> Scores:
    """Accuracy and loss of logits [N, C] on labels [N]."""
    right = (logits.argmax(dim=-1) == labels).double().mean().item()
    return Scores(accuracy=right, loss=cross_entropy(logits, labels).item(), rows=len(labels))


def majority(labels: Tensor) -> float:
    """The accuracy of always saying the commonest of ``labels`` [N]."""
    return labels.bincount().max().item() / len(labels)


def scores(answers: Mapping[str, Answers], logits: Callable[[Answers], Tensor]) -> Snapshot:
    """The scores of somebody's ``logits`` [N, C] on every evaluated split."""
    return Snapshot(**{name: score(logits(a), a.labels) for name, a in answers.items()})


def member(number: int) -> Callable[[Answers], Tensor]:
    """The logits of a teacher, counted from 0."""
    return lambda answers: answers.teachers[number]


def wrong(answers: Answers, rows: Rows) -> list[dict[str, Any]]:
    """The student's mistakes, the surest first, at most ``MOST_MISTAKES``, each with its sentence."""
    sure, said = answers.student.softmax(dim=-1).max(dim=-1)
    mistaken = (said != answers.labels).nonzero().flatten().tolist()
    taught = answers.mean_teacher.argmax(dim=-1) if len(answers.teachers) else None
    return [
        {
            "row": int(answers.rows[i]),
            "text": rows.texts[int(answers.rows[i])],
            "label": rows.label_names[int(answers.labels[i])],
            "prediction": rows.label_names[int(said[i])],
            "probability": round(float(sure[i]), 4),
            "teachers": rows.label_names[int(taught[i])] if taught is not None else None,
        }
        for i in sorted(mistaken, key=lambda i: -float(sure[i]))[:MOST_MISTAKES]
    ]


def write_predictions(
    folder: Path, answers: Mapping[str, Answers], label_names: Sequence[str], sentences: Mapping[str, Sequence[int]]
) -> None:
    """A file per split: row, sentence, label, the student's prediction and logits, the teachers' prediction.

    No text is written: the row number finds it in its source.

    Args:
        folder: of the files.
        answers: by split.
        label_names: in order.
        sentences: of each row of each split, the number of the row that holds its whole sentence.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, a in answers.items():
        taught = a.mean_teacher.argmax(dim=-1).tolist() if len(a.teachers) else []
        columns = [a.rows.tolist(), sentences[name], a.labels.tolist(), a.student]
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            titles = ["row", "sentence", "label", "prediction", *(f"logit {n}" for n in label_names)]
            table.writerow([*titles, *(["teachers"] if taught else [])])
            for i, (row, sentence, label, logits) in enumerate(zip(*columns, strict=True)):
                said = [label_names[label], label_names[int(logits.argmax())]]
                more = [label_names[taught[i]]] if taught else []
                table.writerow([row, sentence, *said, *(f"{value:.6g}" for value in logits.tolist()), *more])
