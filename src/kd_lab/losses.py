"""What a student is asked to minimise. Pure functions of logits; see docs/metadistil.md for the equations."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, softmax

SoftLoss = Callable[[Tensor, Tensor, float], Tensor]


def kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Divergence of the student's softened distribution from the teacher's: T² · KL(p_teacher ‖ p_student).

    Hinton, Vinyals and Dean, *Distilling the Knowledge in a Neural Network* (arXiv 1503.02531), section 2: the
    factor T² keeps the gradient's size when T changes.

    Args:
        student: logits [B, C].
        teacher: logits [B, C].
        temperature: T > 0.

    Returns:
        Scalar: the sum over classes, averaged over the batch.
    """
    log_teacher = log_softmax(teacher / temperature, dim=-1)
    log_student = log_softmax(student / temperature, dim=-1)
    return (log_teacher.exp() * (log_teacher - log_student)).sum(dim=-1).mean() * temperature**2


def mse_probabilities(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean squared difference of the softened probabilities, times T²: what the published MetaDistil code minimises.

    Shapes as in :func:`kl`; the mean runs over batch and classes.
    """
    # Not F.mse_loss: it has no forward-mode derivative of its gradient.
    difference = softmax(student / temperature, dim=-1) - softmax(teacher / temperature, dim=-1)
    return (difference**2).mean() * temperature**2


def mse_logits(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean squared difference of the logits (Ba and Caruana, arXiv 1312.6184, eq. 1); the temperature plays no part.

    Shapes as in :func:`kl`; the mean runs over batch and classes.
    """
    return ((student - teacher) ** 2).mean()


SOFT_LOSSES: dict[str, SoftLoss] = {"kl": kl, "mse_probabilities": mse_probabilities, "mse_logits": mse_logits}


Combination = Callable[[Tensor, Tensor], Tensor]
"""(logits of the teachers [K, B, C], labels [B]) -> their logits together, [B, C]."""


def mean(teachers: Tensor, labels: Tensor) -> Tensor:
    """The plain mean of the teachers' logits."""
    return teachers.mean(dim=0)


def confidence(teachers: Tensor, labels: Tensor) -> Tensor:
    """The teachers' logits weighted per sentence by how little each errs on its label.

    Teacher k with cross-entropy e_k on a sentence has the weight (1 − exp(e_k) / Σ_j exp(e_j)) / (K − 1), a constant
    (the weights of Zhang, Chen and Wang, *Confidence-Aware Multi-Teacher Knowledge Distillation*, arXiv 2201.00007).
    """
    if len(teachers) == 1:
        return teachers[0]
    errors = torch.stack([cross_entropy(logits.detach(), labels, reduction="none") for logits in teachers])
    weights = (1 - errors.softmax(dim=0)) / (len(teachers) - 1)
    return (weights[..., None] * teachers).sum(dim=0)


COMBINATIONS: dict[str, Combination] = {"mean": mean, "confidence": confidence}


@dataclass(frozen=True)
class DistillationLoss:
    """L = α · soft loss(student, teacher; T) + (1 − α) · cross-entropy(student, labels).

    Attributes:
        alpha: weight of the soft loss, in [0, 1].
        temperature: T > 0.
        soft_loss: a name out of ``SOFT_LOSSES``.
        teacher_weights: a name out of ``COMBINATIONS``: how several teachers' logits become one.

    Raises:
        ValueError: for an unknown soft loss or weighting, α outside [0, 1] or T ≤ 0.
    """

    alpha: float = 0.5
    temperature: float = 2.0
    soft_loss: str = "kl"
    teacher_weights: str = "mean"

    def __post_init__(self) -> None:
        if self.soft_loss not in SOFT_LOSSES:
            raise ValueError(f"soft_loss={self.soft_loss}: choose one of {', '.join(SOFT_LOSSES)}")
        if self.teacher_weights not in COMBINATIONS:
            raise ValueError(f"teacher_weights={self.teacher_weights}: choose one of {', '.join(COMBINATIONS)}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha={self.alpha}: a weight lies in [0, 1]")
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}: a temperature lies above 0")

    def __call__(self, student: Tensor, teachers: Tensor, labels: Tensor) -> Tensor:
        """The loss of student logits [B, C] beside the logits of K teachers [K, B, C] and labels [B], a scalar.

        Raises:
            ValueError: for teachers' logits of another shape: their mean, [B, C], would be taken for B teachers.
        """
        if teachers.shape[1:] != student.shape:
            raise ValueError(f"teachers' logits are {list(teachers.shape)}: one of {list(student.shape)} each is meant")
        taught = COMBINATIONS[self.teacher_weights](teachers, labels)
        soft = SOFT_LOSSES[self.soft_loss](student, taught, self.temperature)
        return self.alpha * soft + (1 - self.alpha) * cross_entropy(student, labels)


def teacher_loss(teachers: Tensor, labels: Tensor) -> Tensor:
    """The sum over K teachers of the mean cross-entropy of their logits [K, B, C] on labels [B], a scalar."""
    return torch.stack([cross_entropy(logits, labels) for logits in teachers]).sum()
