"""MetaDistil (Zhou, Xu and McAuley, *BERT Learns to Teach*, ACL 2022, arXiv 2106.04570).

The teachers are trained too, on how well the student does on a quiz after learning from them. One meta-step:

1. a training batch comes;                                                        ``training_step``
2. the student is copied (as new tensors: the student itself is never touched);   ``hypergradient``
3. the copy takes an assumed step of distillation;                                ``hypergradient``
4. quiz batches are drawn;                                                        ``quiz_of``
5. the copy answers them: the quiz loss;                                          ``hypergradient``
6. the teachers step along its gradient and that of their own loss;               ``move_teachers``
7. the copy is dropped;
8. the student learns for real, from the teachers as they are now.                ``move_student``
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from kd_lab import quizzes, ranks
from kd_lab.diagnostics import Movement
from kd_lab.distiller import Distiller
from kd_lab.dropout import same_dropout
from kd_lab.encoding import Batch
from kd_lab.hypergradient import WAYS, finite_difference, from_labels
from kd_lab.lesson import Feedback, Lesson, Part
from kd_lab.losses import DistillationLoss, teacher_loss
from kd_lab.models import Classifier, TeacherEnsemble
from kd_lab.optimization import Optimization
from kd_lab.tangent import Parameters, differentiable_attention

T = TypeVar("T")

OPTIMIZERS: dict[str, Callable[[Optimization, Iterable[nn.Parameter], float], Optimizer]] = {
    "adamw": Optimization.optimizer,
    "sgd": Optimization.descent,
}
"""What moves the teachers."""
AT_A_TIME = 64  # quiz rows, in evaluation


class MetaDistil(Distiller):
    """Distillation by teachers that learn how to teach; the defaults are the plain method, those of its yaml are tuned.

    Args:
        student, teachers, **machinery: of :class:`kd_lab.distiller.Distiller`; ``quiz`` among it.
        alpha, temperature, soft_loss, teacher_weights: of :class:`kd_lab.losses.DistillationLoss`, in the assumed and
            the real step.
        inner_lr: μ, the size of the assumed step, which is plain gradient descent.
        preconditioned: scale the assumed step as the student's Adam scales its own (Choe et al., *Making Scalable Meta
            Learning Practical*, NeurIPS 2023, arXiv 2310.05674), the scale held constant.
        teacher_lr: peak learning rate of the teachers' optimizer.
        teacher_optimizer: a name out of ``OPTIMIZERS``.
        label_loss: λ, weight of each teacher's own cross-entropy on the training batch beside the quiz loss (Pham et
            al., *Meta Pseudo Labels*, CVPR 2021, arXiv 2003.10580; Ren et al., *LGTM*, ACL 2023, arXiv 2305.09651).
        frozen: share of the steps, from the first, in which the teachers stand still; with 1 they always do.
        hypergradient: a name out of ``WAYS``; with ``labels``, a control, they learn from their own loss on the quiz.
        teacher_every: training batches per teacher update; in between the student learns from them as they are.
        quiz_batch_size: rows per quiz batch; the whole quiz where it has fewer.
        quiz_batches: quiz batches per teacher update; their mean loss counts.

    Raises:
        ValueError: for an unknown name, or without a quiz.
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
        teacher_weights: str = "mean",
        inner_lr: float = 5e-5,
        preconditioned: bool = False,
        teacher_lr: float = 2e-6,
        teacher_optimizer: str = "adamw",
        label_loss: float = 0.0,
        frozen: float = 0.0,
        hypergradient: str = "reverse_mode",
        teacher_every: int = 1,
        quiz_batch_size: int = 32,
        quiz_batches: int = 1,
        **machinery: Any,
    ):
        super().__init__(student, teachers, **machinery)
        self.movement = Movement(tuple(teachers.parameters()))
        if self.quiz is None:
            raise ValueError("MetaDistil needs a quiz")
        self.distillation_loss = DistillationLoss(alpha, temperature, soft_loss, teacher_weights)
        self.hypergradient = _chosen("hypergradient", hypergradient, WAYS)
        self.teacher_optimizer = _chosen("teacher_optimizer", teacher_optimizer, OPTIMIZERS)
        self.inner_lr, self.preconditioned = inner_lr, preconditioned
        self.teacher_lr, self.label_loss = teacher_lr, label_loss
        self.frozen, self.frozen_steps = frozen, 0
        self.teacher_every, self.quiz_batch_size, self.quiz_batches = teacher_every, quiz_batch_size, quiz_batches

    def training_step(self, batch: Batch, index: int) -> None:
        """A meta-step, or between two of them a step of plain distillation."""
        if self.global_step < self.frozen_steps or self.global_step % self.teacher_every:
            super().training_step(batch, index)
            return
        quiz = self.quiz_of(self.global_step)
        theirs = quiz if self.hypergradient is from_labels else []
        with self.student.excerpt(batch, *quiz):
            with self.teachers.excerpt(batch, *theirs):
                lesson = self.lesson(batch, quiz)
                before = self.quiz_before(lesson)
                feedback = self.hypergradient(lesson)
                self.accept(feedback.gradients, feedback.quiz_loss)
            self.move_teachers()
            self.learn(self._real(batch, lesson, feedback))
        self.move_student()
        self.ledger.latest |= {"teacher/quiz/loss" if theirs else "quiz/loss": feedback.quiz_loss, **before}

    def quiz_before(self, lesson: Lesson) -> dict[str, Tensor]:
        """The quiz loss without the assumed step, where it will be logged before the next meta-step."""
        self.ledger.latest.pop("quiz/loss_before", None)
        if not self.due_within(self.teacher_every):
            return {}
        with torch.no_grad():
            loss = torch.stack([part(lesson.student) for part in lesson.quiz_losses]).sum()
        ranks.add_up([loss])
        return {"quiz/loss_before": loss}

    def loss(self, batch: Batch) -> Tensor:
        """L_kd, a scalar."""
        with torch.no_grad():
            taught = self.teachers.member_logits(batch)
        logits = self.student(batch)
        self.count(logits, taught, batch.labels)
        return self.distillation_loss(logits, taught, batch.labels)

    def quiz_of(self, step: int) -> list[Batch]:
        """The quiz batches of the teacher update at ``step`` of the student."""
        assert self.quiz is not None
        update = step // self.teacher_every
        quiz = [self.quiz(update * self.quiz_batches + i, self.quiz_batch_size) for i in range(self.quiz_batches)]
        return [self.transfer_batch_to_device(part, self.device, 0) for part in quiz]

    def lesson(self, batch: Batch, quiz: Sequence[Batch]) -> Lesson:
        """The meta-step on ``batch`` and ``quiz`` as functions of plain tensors, in micro-batches."""
        apart = self.device.type == "cpu"
        sheets = quizzes.sheets(quiz, self.student.encoder.key if apart else None, self.micro_batch_size)
        return Lesson(
            student=dict(self.student.named_parameters()),
            teachers=tuple(tuple(member.parameters()) for member in self.teachers),
            parts=tuple(self._part(part, share) for part, share in self.parts(batch)),
            quiz_losses=tuple(partial(self._quiz_loss, part=part, row=row) for part, row in sheets),
            inner_lr=self.inner_lr,
            add_up=ranks.add_up,
            teacher_quiz_losses=tuple(partial(self._teacher_quiz_loss, part, row) for part, row in sheets),
            scale=self._adam_scale if self.preconditioned else None,
        )

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        """The student's and the teachers', each with its schedule."""
        optimizers, schedules = super().configure_optimizers()
        teacher = self.teacher_optimizer(self.optimization, self.teachers.parameters(), self.teacher_lr)
        steps = int(self.trainer.estimated_stepping_batches)
        self.frozen_steps = round(self.frozen * steps)
        updates = len(range(0, steps, self.teacher_every)) - len(range(0, self.frozen_steps, self.teacher_every))
        return [*optimizers, teacher], [*schedules, self.optimization.schedule(teacher, updates)]

    def move_teachers(self) -> None:
        """The teachers' step, with how it turns and where it leads."""
        gradients = [parameter.grad for parameter in self.teachers.parameters()]
        # A cosine takes two of them; hundreds of small tensors are not looked at without need.
        turn = self.movement.turn(gradients) if self.due_within(2 * self.teacher_every) else None  # type: ignore[arg-type]
        super().move_teachers()
        if self.due_within(self.teacher_every):
            self.ledger.latest["teacher/displacement"] = self.movement.displacement(self.teachers.parameters())
            if turn is not None:
                self.ledger.latest["teacher/gradient_cosine"] = turn

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """With where the teachers started."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["movement"] = self.movement.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The teachers are watched on from where they started."""
        super().on_load_checkpoint(checkpoint)
        self.movement.go_on(checkpoint["movement"])

    def on_validation_epoch_end(self) -> None:
        """How often the teachers are right on the quiz as well, which they learn from."""
        super().on_validation_epoch_end()
        assert self.quiz is not None
        whole = self.transfer_batch_to_device(self.quiz(0, sys.maxsize), self.device, 0)
        right = torch.cat([self.teachers(part).argmax(dim=-1) == part.labels for part in whole.split(AT_A_TIME)])
        self.log("teacher/quiz/accuracy", right.double().mean())

    def _part(self, part: Batch, share: float) -> Part:
        weight = share * self.label_loss
        return Part(
            student_logits=same_dropout(lambda theta: self._student_logits(theta, part)),
            teacher_logits=tuple(partial(member, part.for_teachers()) for member in self.teachers),
            distillation_loss=lambda student, teacher: share * self.distillation_loss(student, teacher, part.labels),
            teacher_loss=(lambda taught: weight * teacher_loss(taught, part.labels)) if weight else None,
        )

    def _adam_scale(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        optimizer, _ = self.optimizers(use_pl_optimizer=False)  # type: ignore[misc]
        return self.optimization.adam_scale(optimizer, gradients, self.student.rows_in_use)

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
                taught = self.teachers.member_logits(part)
            self.count(logits, taught, part.labels)
            yield functions.distillation_loss(logits, taught)

    def _quiz_loss(self, theta: Parameters, part: Batch, row: float) -> Tensor:
        # The student sits the quiz in eval mode, as in the published code.
        self.student.eval()
        loss = cross_entropy(functional_call(self.student, dict(theta), (part,)), part.labels, reduction="sum") * row
        self.student.train()
        return loss

    def _teacher_quiz_loss(self, part: Batch, row: float) -> Tensor:
        return teacher_loss(self.teachers.member_logits(part), part.labels) * (row * len(part))


def _chosen(setting: str, name: str, among: Mapping[str, T]) -> T:
    if name not in among:
        raise ValueError(f"{setting}={name}: choose one of {', '.join(among)}")
    return among[name]
