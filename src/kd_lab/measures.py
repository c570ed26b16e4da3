"""How good answers are, in more than one number: accuracy, F1, calibration, confusion, accuracy by length."""

from collections.abc import Sequence

import torch
from pydantic import BaseModel
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
)

BINS = 15
LENGTHS = (5, 10, 20, 40)  # words, the upper ends of the classes of length


class OfLength(BaseModel):
    """Accuracy on the ``rows`` texts of ``shortest`` to ``longest`` words; None is without end."""

    shortest: int
    longest: int | None
    rows: int
    accuracy: float


class Measures(BaseModel):
    """What is measured of a classifier on N labelled texts.

    Attributes:
        rows: N.
        accuracy: in [0, 1].
        loss: mean cross-entropy in nats.
        f1: of each label, in [0, 1].
        macro_f1: their mean, without labels that neither stand nor are answered here.
        calibration_error: expected calibration error in [0, 1], 15 bins of equal width (Guo et al., arXiv 1706.04599).
        confusion: [label][prediction], counts.
        by_length: accuracy by words per text.
    """

    rows: int
    accuracy: float
    loss: float
    f1: dict[str, float]
    macro_f1: float
    calibration_error: float
    confusion: list[list[int]]
    by_length: list[OfLength]


def measure(logits: Tensor, labels: Tensor, texts: Sequence[str], label_names: Sequence[str]) -> Measures:
    """Everything of :class:`Measures` for logits [N, C], labels [N] and the N texts."""
    classes, probabilities = len(label_names), logits.softmax(dim=-1)
    each = multiclass_f1_score(logits, labels, classes, average="none")
    error = multiclass_calibration_error(probabilities, labels, classes, n_bins=BINS, norm="l1")
    return Measures(
        rows=len(labels),
        accuracy=multiclass_accuracy(logits, labels, classes, average="micro").item(),
        loss=cross_entropy(logits, labels).item(),
        f1=dict(zip(label_names, each.tolist(), strict=True)),
        macro_f1=multiclass_f1_score(logits, labels, classes, average="macro").item(),
        calibration_error=error.item(),
        confusion=multiclass_confusion_matrix(logits, labels, classes).tolist(),
        by_length=_by_length(logits.argmax(dim=-1) == labels, texts),
    )


def _by_length(right: Tensor, texts: Sequence[str]) -> list[OfLength]:
    words = torch.tensor([len(text.split()) for text in texts])
    found = []
    for shortest, longest in zip((0, *(end + 1 for end in LENGTHS)), (*LENGTHS, None), strict=True):
        those = (words >= shortest) & (words <= (longest if longest is not None else words.max()))
        if those.any():
            accuracy = right[those].double().mean().item()
            found.append(OfLength(shortest=shortest, longest=longest, rows=int(those.sum()), accuracy=accuracy))
    return found
