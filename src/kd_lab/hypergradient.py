"""How the quiz reaches the teacher: ∇φ of the quiz loss after an assumed step of the student.

The student θ takes one assumed step of plain gradient descent on the distillation loss,

    θ'(φ) = θ − μ ∇θ L_kd(z_S(θ), z_T(φ)),        z_S, z_T: logits of student and teachers, [B, C]

and answers a quiz with θ'. The teachers φ learn from −∇φ L_quiz(θ'(φ)). Since φ enters only through z_T and θ only
through z_S, with v = ∇θ' L_quiz(θ') and the tangent ż = (∂z_S/∂θ) v held constant,

    ∇φ L_quiz(θ'(φ)) = −μ ∇φ ⟨ ∂L_kd/∂z_S (z_S, z_T(φ)), ż ⟩

so the teachers need one cotangent of the shape of their logits and one ordinary backward pass. The functions below
differ in how they come by ż; ``unrolled`` differentiates the assumed step itself and is the yardstick.

MetaDistil: Zhou, Xu and McAuley, *BERT Learns to Teach* (ACL 2022, arXiv 2106.04570). The finite difference is that of
DARTS (Liu, Simonyan and Yang, ICLR 2019, arXiv 1806.09055, equation 8), taken in the logits.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from kd_lab.tangent import Logits, Parameters, difference_tangent, differentiable_attention, exact_tangent


@dataclass(frozen=True)
class Part:
    """Some rows of the training batch: all B of them, or a micro-batch.

    Attributes:
        student_logits: θ -> z_S [B, C]; every call must draw the same dropout mask.
        teacher_logits: one function per teacher, -> [B, C] each, differentiable in that teacher's φ; z_T is their mean.
        distillation_loss: (z_S, z_T) -> scalar, what these rows add to L_kd.
    """

    student_logits: Logits
    teacher_logits: tuple[Callable[[], Tensor], ...]
    distillation_loss: Callable[[Tensor, Tensor], Tensor]


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
    """

    student: Parameters
    teachers: tuple[tuple[Tensor, ...], ...]
    parts: tuple[Part, ...]
    quiz_losses: tuple[Callable[[Parameters], Tensor], ...]
    inner_lr: float

    @property
    def whole(self) -> bool:
        """Whether the batch is in one part."""
        return len(self.parts) == 1


class Feedback(NamedTuple):
    """What a lesson says to the teachers.

    Attributes:
        gradients: ∇φ of the quiz loss, one tensor per tensor of ``Lesson.teachers``.
        quiz_loss: scalar, the assumed student's loss on the quiz.
        student_logits: z_S [B, C] with its graph intact, for the student's real step; None for several parts.
    """

    gradients: tuple[Tensor, ...]
    quiz_loss: Tensor
    student_logits: Tensor | None


Hypergradient = Callable[[Lesson], Feedback]


def forward_mode(lesson: Lesson) -> Feedback:
    """The hypergradient with the exact tangent ż, by forward-mode differentiation."""
    return _from_tangent(lesson, exact_tangent, differentiable_attention)


def finite_difference(lesson: Lesson, epsilon: float = 1e-3) -> Feedback:
    """The hypergradient with ż from the student's logits at θ ± (ε/‖v‖) v; its error falls with ε².

    Works with every attention kernel. ``epsilon`` is the length of the displacement in θ.
    """
    return _from_tangent(lesson, partial(difference_tangent, epsilon=epsilon))


def unrolled(lesson: Lesson) -> Feedback:
    """The hypergradient by differentiating through the assumed step, second-order graph and all: the yardstick.

    The graphs of all parts stay: micro-batches save no memory here.
    """
    theta, phi = tuple(lesson.student.values()), tuple(chain(*lesson.teachers))
    with differentiable_attention():
        student_logits = [part.student_logits(lesson.student) for part in lesson.parts]
    taught = [torch.stack([logits() for logits in part.teacher_logits]).mean(dim=0) for part in lesson.parts]
    losses = [part.distillation_loss(*both) for part, *both in zip(lesson.parts, student_logits, taught, strict=True)]
    gradients = _gradients(torch.stack(losses).sum(), theta, create_graph=True)
    assumed = _assumed(lesson, gradients)
    quiz_loss = torch.stack([loss(assumed) for loss in lesson.quiz_losses]).sum()
    feedback = _gradients(quiz_loss, phi, retain_graph=True)
    return Feedback(feedback, quiz_loss.detach(), student_logits[0] if lesson.whole else None)


HYPERGRADIENTS: dict[str, Hypergradient] = {
    "forward_mode": forward_mode,
    "finite_difference": finite_difference,
    "unrolled": unrolled,
}


def _from_tangent(
    lesson: Lesson,
    tangent_along: Callable[[Logits, Parameters, Parameters], Tensor],
    attention: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Feedback:
    gradients, forwards = _forwards(lesson, attention)
    with torch.no_grad():
        assumed = _assumed(lesson, gradients)
    quiz_loss, v = _quiz(lesson, assumed)
    feedback: tuple[Tensor, ...] | None = None
    for part, (student_logits, members) in zip(lesson.parts, forwards, strict=True):
        tangent = tangent_along(part.student_logits, lesson.student, v)
        taught = torch.stack([logits.detach() for logits in members]).mean(dim=0)
        cotangent = _cotangent(lesson, part, student_logits, taught, tangent) / len(members)
        told: list[Tensor] = []
        for phi, kept, again in zip(lesson.teachers, members, part.teacher_logits, strict=True):
            told += _gradients(kept if lesson.whole else again(), phi, cotangent)
        feedback = _plus(feedback, tuple(told))
    assert feedback is not None
    return Feedback(feedback, quiz_loss, forwards[0][0] if lesson.whole else None)


def _forwards(
    lesson: Lesson, attention: Callable[[], AbstractContextManager[None]]
) -> tuple[tuple[Tensor, ...], list[tuple[Tensor, list[Tensor]]]]:
    """∇θ L_kd, and of each part the logits of student and teachers; those of a whole batch with their graphs."""
    gradients: tuple[Tensor, ...] | None = None
    forwards = []
    for part in lesson.parts:
        with attention():  # the tangent's: another kernel would drop other weights
            student_logits = part.student_logits(lesson.student)
        with torch.set_grad_enabled(lesson.whole):
            members = [logits() for logits in part.teacher_logits]
        loss = part.distillation_loss(student_logits, torch.stack([m.detach() for m in members]).mean(dim=0))
        gradients = _plus(gradients, _gradients(loss, tuple(lesson.student.values()), retain_graph=lesson.whole))
        forwards.append((student_logits if lesson.whole else student_logits.detach(), members))
    assert gradients is not None
    return gradients, forwards


def _quiz(lesson: Lesson, assumed: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """L_quiz of the assumed student, and v, its gradient there."""
    losses, gradients = [], None
    theta = tuple(value.requires_grad_() for value in assumed.values())
    for part in lesson.quiz_losses:
        loss = part(assumed)
        gradients = _plus(gradients, _gradients(loss, theta))
        losses.append(loss.detach())
    assert gradients is not None
    return torch.stack(losses).sum(), dict(zip(assumed, gradients, strict=True))


def _plus(total: tuple[Tensor, ...] | None, more: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return more if total is None else tuple(a + b for a, b in zip(total, more, strict=True))


def _assumed(lesson: Lesson, gradients: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """θ' = θ − μ ∇θ L_kd, as new tensors: θ is never touched, so the graph of its forward stays valid."""
    pairs = zip(lesson.student.items(), gradients, strict=True)
    return {name: torch.add(theta, gradient, alpha=-lesson.inner_lr) for (name, theta), gradient in pairs}


def _cotangent(lesson: Lesson, part: Part, student_logits: Tensor, teacher_logits: Tensor, tangent: Tensor) -> Tensor:
    """−μ ∂/∂z_T ⟨∂L_kd/∂z_S, ż⟩, [B, C]: all the teachers ever need to know of student and quiz."""
    z_s = student_logits.detach().requires_grad_()
    z_t = teacher_logits.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(part.distillation_loss(z_s, z_t), z_s, create_graph=True)
        along = (slope * tangent).sum()
        (cotangent,) = torch.autograd.grad(along, z_t)
    return -lesson.inner_lr * cotangent


def _gradients(
    output: Tensor,
    inputs: tuple[Tensor, ...],
    cotangent: Tensor | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> tuple[Tensor, ...]:
    # A parameter that the output does not depend on has a gradient of zero, not none.
    return torch.autograd.grad(
        output,
        inputs,
        cotangent,
        create_graph=create_graph,
        retain_graph=retain_graph or create_graph,
        materialize_grads=True,
    )
