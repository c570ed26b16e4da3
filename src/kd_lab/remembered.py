"""What teachers say before they move, and for good if they stand still: asked once, kept for all runs."""

import hashlib
import json
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from kd_lab import devices, evaluation, tensor_cache
from kd_lab.catalogue import Checkpoint
from kd_lab.data import EncodedRows, TextDataModule
from kd_lab.evaluation import EVALUATED, Answers
from kd_lab.models import TeacherEnsemble
from kd_lab.settings import Settings


def before(
    teachers: TeacherEnsemble, checkpoints: Sequence[Checkpoint], settings: Settings, data: TextDataModule
) -> dict[str, Answers]:
    """What the teachers, as ``checkpoints`` has them, answer on every evaluated split."""
    found = {}
    for name in EVALUATED:
        part = data.parts[name]
        said = logits(teachers, checkpoints, settings, part)
        found[name] = Answers(torch.tensor(part.numbers), torch.tensor(part.labels), torch.empty(0), said)
    return found


def teach(
    teachers: TeacherEnsemble, checkpoints: Sequence[Checkpoint], settings: Settings, data: TextDataModule
) -> None:
    """Let teachers that stand still answer the training rows from memory, where they see them without noise."""
    part = data.parts["train"]
    if part.noise.changes_text and not part.clean_for_teachers:
        return
    teachers.remember(part.numbers, logits(teachers, checkpoints, settings, part))
    part.for_the_student()


def logits(
    teachers: TeacherEnsemble, checkpoints: Sequence[Checkpoint], settings: Settings, part: EncodedRows
) -> Tensor:
    """The logits of K teachers on the N rows of ``part`` without noise, [K, N, C], in its order.

    Each teacher's are kept under all that decides them: the checkpoint's content, the texts, their greatest length, the
    number of classes, the precision and the kind of device, whose products differ.
    """
    texts = [part.rows.texts[number] for number in part.numbers]
    key = {
        "texts": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
        "max_length": settings.data.max_length,
        "classes": len(part.rows.label_names),
        "precision": settings.precision,
        "device": devices.kind(settings.trainer.accelerator),
    }

    def ask(member: int) -> dict[str, Tensor]:
        return {"logits": evaluation.answers(list(teachers)[member], settings, part.rows, part.numbers)[0]}

    kept = [
        tensor_cache.cached("logits", {**key, "teacher": checkpoint.identity()}, partial(ask, member))["logits"]
        for member, checkpoint in enumerate(checkpoints)
    ]
    return torch.stack(kept) if len(kept) > 1 else kept[0][None]
