"""MetaDistil (Zhou, Xu and McAuley, *BERT Learns to Teach*, ACL 2022, arXiv 2106.04570).

The teachers are trained too, on how well the student does on a quiz after learning from them. One meta-step:

1. a training batch comes;                                                        ``training_step``
2. the student is copied (as new tensors: the student itself is never touched);   ``hypergradient``
3. the copy takes an assumed step of distillation;                                ``hypergradient``
4. quiz batches are drawn;                                                        ``_quiz_loss``
5. the copy answers them: the quiz loss;                                          ``hypergradient``
6. the teachers step along its gradient;                                          ``update_teachers``
7. the copy is dropped;
8. the student learns for real, from the teachers as they are now.                ``update_student``
"""

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from kd_lab.distiller import Distiller
from kd_lab.encoding import Batch
from kd_lab.hypergradient import HYPERGRADIENTS, Lesson, Parameters, same_dropout
from kd_lab.losses import DistillationLoss
from kd_lab.models import Classifier, TeacherEnsemble


class MetaDistil(Distiller):
    """Distillation by teachers that learn how to teach.

    Args:
        student: learns.
        teachers: learn to teach; in eval mode throughout.
        alpha, temperature, soft_loss: of :class:`kd_lab.losses.DistillationLoss`, in the assumed and the real step.
        inner_lr: μ, the size of the assumed step, which is plain gradient descent.
        teacher_lr: peak learning rate of the teachers' AdamW.
        hypergradient: a name out of ``HYPERGRADIENTS``.
        teacher_every: training batches per teacher update; in between the student learns from them as they are.
        quiz_batch_size: rows per quiz batch; the whole quiz where it has fewer.
        quiz_batches: quiz batches per teacher update; their mean loss counts.
        **machinery: of :class:`kd_lab.distiller.Distiller`; ``quiz`` among it.

    Raises:
        ValueError: for an unknown hypergradient, or without a quiz.
    """

    teachers: TeacherEnsemble
    teachers_learn = True

    def __init__(
        self,
        student: Classifier,
        teachers: TeacherEnsemble,
        *,
        alpha: float = 0.5,
        temperature: float = 2.0,
        soft_loss: str = "kl",
        inner_lr: float = 5e-5,
        teacher_lr: float = 2e-6,
        hypergradient: str = "forward_mode",
        teacher_every: int = 1,
        quiz_batch_size: int = 32,
        quiz_batches: int = 1,
        **machinery: Any,
    ):
        super().__init__(student, teachers, **machinery)
        if hypergradient not in HYPERGRADIENTS:
            raise ValueError(f"hypergradient={hypergradient}: choose one of {', '.join(HYPERGRADIENTS)}")
        if self.quiz is None:
            raise ValueError("MetaDistil needs a quiz")
        self.distillation_loss = DistillationLoss(alpha, temperature, soft_loss)
        self.hypergradient = HYPERGRADIENTS[hypergradient]
        self.inner_lr, self.teacher_lr = inner_lr, teacher_lr
        self.teacher_every, self.quiz_batch_size, self.quiz_batches = teacher_every, quiz_batch_size, quiz_batches

    def training_step(self, batch: Batch, index: int) -> None:
        """A meta-step, or between two of them a step of plain distillation."""
        if self.global_step % self.teacher_every:
            super().training_step(batch, index)
            return
        feedback = self.hypergradient(self.lesson(batch))
        self.update_teachers(feedback.gradients)
        self.log("quiz/loss", feedback.quiz_loss)
        self.update_student(self._loss(feedback.student_logits, batch))

    def loss(self, batch: Batch) -> Tensor:
        """L_kd, a scalar."""
        return self._loss(self.student(batch), batch)

    def lesson(self, batch: Batch) -> Lesson:
        """The meta-step on ``batch`` and the next quiz batches, as functions of plain tensors."""
        update = self.global_step // self.teacher_every
        assert self.quiz is not None
        quiz = [self.quiz(update * self.quiz_batches + i, self.quiz_batch_size) for i in range(self.quiz_batches)]
        quiz = [self.transfer_batch_to_device(part, self.device, 0) for part in quiz]
        return Lesson(
            student=dict(self.student.named_parameters()),
            teachers=tuple(self.teachers.parameters()),
            student_logits=same_dropout(lambda theta: functional_call(self.student, dict(theta), (batch,))),
            teacher_logits=lambda: self.teachers(batch),
            distillation_loss=lambda student, teacher: self.distillation_loss(student, teacher, batch.labels),
            quiz_loss=lambda theta: self._quiz_loss(theta, quiz),
            inner_lr=self.inner_lr,
        )

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        """The student's and the teachers', each with its schedule."""
        optimizers, schedules = super().configure_optimizers()
        teacher = self.optimization.optimizer(self.teachers.parameters(), self.teacher_lr)
        updates = -(-int(self.trainer.estimated_stepping_batches) // self.teacher_every)
        return [*optimizers, teacher], [*schedules, self.optimization.schedule(teacher, updates)]

    def _loss(self, student_logits: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad():
            teacher_logits = self.teachers(batch)
        return self.distillation_loss(student_logits, teacher_logits, batch.labels)

    def _quiz_loss(self, theta: Parameters, quiz: list[Batch]) -> Tensor:
        # The student sits the quiz in eval mode, as in the published code.
        self.student.eval()
        losses = [cross_entropy(functional_call(self.student, dict(theta), (part,)), part.labels) for part in quiz]
        self.student.train()
        return torch.stack(losses).mean()
