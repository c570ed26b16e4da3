"""One meta-step's ingredients and outcome, as plain tensors and functions of them; symbols as in hypergradient.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from kd_lab.tangent import Logits, Parameters


@dataclass(frozen=True)
class Part:
    """Some rows of the training batch: all B of them, or a micro-batch.

    Attributes:
        student_logits: θ -> z_S [B, C]; every call must draw the same dropout mask, by one attention kernel: for all
            ways but the difference that of :func:`kd_lab.tangent.differentiable_attention`.
        teacher_logits: one function per teacher, -> [B, C] each, differentiable in that teacher's φ; together z_T,
            [K, B, C].
        distillation_loss: (z_S, z_T) -> scalar, what these rows add to L_kd.
        teacher_loss: z_T -> scalar, what these rows add to the teachers' own loss; None for nothing.
    """

    student_logits: Logits
    teacher_logits: tuple[Callable[[], Tensor], ...]
    distillation_loss: Callable[[Tensor, Tensor], Tensor]
    teacher_loss: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Lesson:
    """One meta-step's ingredients, as functions of plain tensors.

    Attributes:
        student: θ, the student's parameters by name.
        teachers: φ, the parameters of each teacher.
        parts: of the training batch. The graphs of a single one are kept and serve again; of several, every pass makes
            its own, one teacher's at a time.
        quiz_losses: θ' -> scalar each; L_quiz is their sum.
        inner_lr: μ, the size of the assumed step.
        add_up: makes of tensors their sums over all processes that hold parts of the lesson, in place.
        teacher_quiz_losses: the teachers' own loss on the quiz, a scalar each; for the control alone.
        scale: ∇θ L_kd -> the diagonal of P, one tensor per parameter and a constant; None for P = 1.
    """

    student: Parameters
    teachers: tuple[tuple[Tensor, ...], ...]
    parts: tuple[Part, ...]
    quiz_losses: tuple[Callable[[Parameters], Tensor], ...]
    inner_lr: float
    add_up: Callable[[Sequence[Tensor]], None] = lambda tensors: None
    teacher_quiz_losses: tuple[Callable[[], Tensor], ...] = ()
    scale: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None

    @property
    def whole(self) -> bool:
        """Whether the batch is in one part."""
        return len(self.parts) == 1


class Feedback(NamedTuple):
    """What a lesson says to the teachers.

    Attributes:
        gradients: ∇φ of the quiz loss and the teachers' own, one tensor per tensor of ``Lesson.teachers``.
        quiz_loss: scalar, the assumed student's loss on the quiz; with the control ``labels`` the teachers'.
        student_logits: z_S [B, C] with its graph intact, for the student's real step; None for several parts and with
            ``labels``.
    """

    gradients: tuple[Tensor, ...]
    quiz_loss: Tensor
    student_logits: Tensor | None
