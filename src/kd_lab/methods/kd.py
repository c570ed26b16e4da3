"""Knowledge distillation (Hinton, Vinyals and Dean, arXiv 1503.02531): the student learns from fixed teachers."""

from typing import Any

import torch
from torch import Tensor

from kd_lab.distiller import Distiller
from kd_lab.encoding import Batch
from kd_lab.losses import DistillationLoss
from kd_lab.models import Classifier, TeacherEnsemble


class KnowledgeDistillation(Distiller):
    """α · soft loss against the teachers' logits together + (1 − α) · cross-entropy on the labels.

    Args:
        student: learns.
        teachers: do not move.
        alpha, temperature, soft_loss, teacher_weights: of :class:`kd_lab.losses.DistillationLoss`.
        **machinery: of :class:`kd_lab.distiller.Distiller`.
    """

    teachers: TeacherEnsemble

    def __init__(
        self,
        student: Classifier,
        teachers: TeacherEnsemble,
        *,
        alpha: float = 0.5,
        temperature: float = 2.0,
        soft_loss: str = "kl",
        teacher_weights: str = "mean",
        **machinery: Any,
    ):
        super().__init__(student, teachers, **machinery)
        self.distillation_loss = DistillationLoss(alpha, temperature, soft_loss, teacher_weights)

    def loss(self, batch: Batch) -> Tensor:
        """L_kd, a scalar."""
        with torch.no_grad():
            taught = self.teachers.member_logits(batch)
        logits = self.student(batch)
        self.count(logits, taught, batch.labels)
        return self.distillation_loss(logits, taught, batch.labels)
