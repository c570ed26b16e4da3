"""MetaDistil (Zhou, Xu and McAuley, *BERT Learns to Teach*, ACL 2022, arXiv 2106.04570).

The teachers are trained too, on how well the student does on a quiz after learning from them. One meta-step:

1. a training batch comes;                                                        ``training_step``
2. the student is copied (as new tensors: the student itself is never touched);   ``hypergradient``
3. the copy takes an assumed step of distillation;                                ``hypergradient``
4. quiz batches are drawn;                                                        ``quiz_of``
5. the copy answers them: the quiz loss;                                          ``hypergradient``
6. the teachers step along its gradient;                                          ``move_teachers``
7. the copy is dropped;
8. the student learns for real, from the teachers as they are now.                ``move_student``
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from kd_lab import ranks
from kd_lab.distiller import Distiller
from kd_lab.dropout import same_dropout
from kd_lab.encoding import Batch
from kd_lab.hypergradient import HYPERGRADIENTS, Feedback, Lesson, Part, finite_difference
from kd_lab.losses import DistillationLoss
from kd_lab.models import Classifier, TeacherEnsemble
from kd_lab.tangent import Parameters, differentiable_attention

START = 128  # tokens of a small model in the time that its shortest pass takes: weights have to be read and written


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
        hypergradient: str = "reverse_mode",
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
        quiz = self.quiz_of(self.global_step)
        with self.student.excerpt(batch, *quiz):
            with self.teachers.excerpt(batch):
                lesson = self.lesson(batch, quiz)
                feedback = self.hypergradient(lesson)
                self.accept(feedback.gradients, feedback.quiz_loss)
            self.move_teachers()
            self.learn(self._real(batch, lesson, feedback))
        self.move_student()
        self.latest["quiz/loss"] = feedback.quiz_loss

    def loss(self, batch: Batch) -> Tensor:
        """L_kd, a scalar."""
        with torch.no_grad():
            taught = self.teachers(batch)
        return self.distillation_loss(self.student(batch), taught, batch.labels)

    def quiz_of(self, step: int) -> list[Batch]:
        """The quiz batches of the teacher update at ``step`` of the student."""
        assert self.quiz is not None
        update = step // self.teacher_every
        quiz = [self.quiz(update * self.quiz_batches + i, self.quiz_batch_size) for i in range(self.quiz_batches)]
        return [self.transfer_batch_to_device(part, self.device, 0) for part in quiz]

    def lesson(self, batch: Batch, quiz: Sequence[Batch]) -> Lesson:
        """The meta-step on ``batch`` and ``quiz`` as functions of plain tensors, in micro-batches."""
        own = [(len(whole), *ranks.own(whole)) for whole in quiz]
        shares = [(part, weight / rows / len(quiz)) for rows, mine, weight in own for part in self._sheets(mine)]
        return Lesson(
            student=dict(self.student.named_parameters()),
            teachers=tuple(tuple(member.parameters()) for member in self.teachers),
            parts=tuple(self._part(part, share) for part, share in self.parts(batch)),
            quiz_losses=tuple(partial(self._quiz_loss, part=part, row=row) for part, row in shares),
            inner_lr=self.inner_lr,
            add_up=ranks.add_up,
        )

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        """The student's and the teachers', each with its schedule."""
        optimizers, schedules = super().configure_optimizers()
        teacher = self.optimization.optimizer(self.teachers.parameters(), self.teacher_lr)
        updates = -(-int(self.trainer.estimated_stepping_batches) // self.teacher_every)
        return [*optimizers, teacher], [*schedules, self.optimization.schedule(teacher, updates)]

    def _sheets(self, quiz: Batch) -> Iterator[Batch]:
        """A quiz batch in parts of like length: a quiz is small, and its batches mix lengths."""
        alike = [quiz] if self.device.type != "cpu" else quiz.of_like_length(self.student.encoder.key, START)
        for part in alike:
            yield from part.split(self.micro_batch_size)

    def _part(self, part: Batch, share: float) -> Part:
        return Part(
            student_logits=same_dropout(lambda theta: self._student_logits(theta, part)),
            teacher_logits=tuple(partial(member, part.for_teachers()) for member in self.teachers),
            distillation_loss=lambda student, teacher: share * self.distillation_loss(student, teacher, part.labels),
        )

    def _student_logits(self, theta: Parameters, part: Batch) -> Tensor:
        # One kernel for all forwards: another would drop other weights.
        with nullcontext() if self.hypergradient is finite_difference else differentiable_attention():
            logits: Tensor = functional_call(self.student, dict(theta), (part,))
        return logits

    def _real(self, batch: Batch, lesson: Lesson, feedback: Feedback) -> Iterator[Tensor]:
        """L_kd once more, with the teachers as they are now and the dropout of the assumed step, part by part."""
        for (part, _), functions in zip(self.parts(batch), lesson.parts, strict=True):
            logits = feedback.student_logits
            if logits is None:
                logits = functions.student_logits(lesson.student)
            with torch.no_grad():
                taught = self.teachers(part)
            yield functions.distillation_loss(logits, taught)

    def _quiz_loss(self, theta: Parameters, part: Batch, row: float) -> Tensor:
        # The student sits the quiz in eval mode, as in the published code.
        self.student.eval()
        loss = cross_entropy(functional_call(self.student, dict(theta), (part,)), part.labels, reduction="sum") * row
        self.student.train()
        return loss
