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

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Lesson:
    """One meta-step's ingredients, as functions of plain tensors.

    Attributes:
        student: θ, the student's parameters by name.
        teachers: φ, all parameters of all teachers.
        student_logits: θ -> z_S [B, C] on the training batch; every call must draw the same dropout mask.
        teacher_logits: -> z_T [B, C] on the training batch, the mean over the teachers, differentiable in φ.
        distillation_loss: (z_S, z_T) -> scalar L_kd.
        quiz_loss: θ' -> scalar L_quiz.
        inner_lr: μ, the size of the assumed step.
    """

    student: Parameters
    teachers: tuple[Tensor, ...]
    student_logits: Callable[[Parameters], Tensor]
    teacher_logits: Callable[[], Tensor]
    distillation_loss: Callable[[Tensor, Tensor], Tensor]
    quiz_loss: Callable[[Parameters], Tensor]
    inner_lr: float


class Feedback(NamedTuple):
    """What a lesson says to the teachers.

    Attributes:
        gradients: ∇φ of the quiz loss, one tensor per tensor of ``Lesson.teachers``.
        quiz_loss: scalar, the assumed student's loss on the quiz.
        student_logits: z_S [B, C] with its graph intact, for the student's real step.
    """

    gradients: tuple[Tensor, ...]
    quiz_loss: Tensor
    student_logits: Tensor


Hypergradient = Callable[[Lesson], Feedback]


def forward_mode(lesson: Lesson) -> Feedback:
    """The hypergradient with the exact tangent ż, by forward-mode differentiation."""
    with differentiable_attention():
        student_logits = lesson.student_logits(lesson.student)
    return _from_tangent(lesson, student_logits, lambda v: exact_tangent(lesson.student_logits, lesson.student, v))


def finite_difference(lesson: Lesson, epsilon: float = 1e-3) -> Feedback:
    """The hypergradient with ż from the student's logits at θ ± (ε/‖v‖) v; its error falls with ε².

    Works with every attention kernel. ``epsilon`` is the length of the displacement in θ.
    """
    student_logits = lesson.student_logits(lesson.student)
    return _from_tangent(
        lesson, student_logits, lambda v: difference_tangent(lesson.student_logits, lesson.student, v, epsilon)
    )


def unrolled(lesson: Lesson) -> Feedback:
    """The hypergradient by differentiating through the assumed step, second-order graph and all: the yardstick."""
    with differentiable_attention():
        student_logits = lesson.student_logits(lesson.student)
    loss = lesson.distillation_loss(student_logits, lesson.teacher_logits())
    gradients = _gradients(loss, tuple(lesson.student.values()), create_graph=True)
    assumed = _assumed(lesson, gradients)
    quiz_loss = lesson.quiz_loss(assumed)
    return Feedback(_gradients(quiz_loss, lesson.teachers, retain_graph=True), quiz_loss.detach(), student_logits)


HYPERGRADIENTS: dict[str, Hypergradient] = {
    "forward_mode": forward_mode,
    "finite_difference": finite_difference,
    "unrolled": unrolled,
}


def exact_tangent(function: Callable[[Parameters], Tensor], parameters: Parameters, direction: Parameters) -> Tensor:
    """The derivative of ``function`` at ``parameters`` along ``direction``, as a constant.

    It must stay a constant: the backward of a forward-mode derivative through LayerNorm is silently wrong in torch.
    """
    with torch.no_grad(), forward_ad.dual_level(), differentiable_attention():
        duals = {
            name: forward_ad.make_dual(value.detach(), direction[name])  # type: ignore[no-untyped-call]
            for name, value in parameters.items()
        }
        tangent: Tensor = forward_ad.unpack_dual(function(duals)).tangent  # type: ignore[no-untyped-call]
    return tangent.detach()


def difference_tangent(
    function: Callable[[Parameters], Tensor], parameters: Parameters, direction: Parameters, epsilon: float
) -> Tensor:
    """The derivative of ``function`` along ``direction`` by a central difference of displacement ``epsilon``."""
    norm = torch.nn.utils.get_total_norm(list(direction.values()))
    step = epsilon / norm if norm > 0 else norm  # a student without a slope has no tangent
    with torch.no_grad(), full_precision():
        ahead = function({name: value + step * direction[name] for name, value in parameters.items()})
        behind = function({name: value - step * direction[name] for name, value in parameters.items()})
    return (ahead - behind) * (norm / (2 * epsilon))


def _from_tangent(lesson: Lesson, student_logits: Tensor, tangent_along: Callable[[Parameters], Tensor]) -> Feedback:
    teacher_logits = lesson.teacher_logits()
    loss = lesson.distillation_loss(student_logits, teacher_logits.detach())
    gradients = _gradients(loss, tuple(lesson.student.values()), retain_graph=True)
    with torch.no_grad():
        assumed = _assumed(lesson, gradients)
    for theta in assumed.values():
        theta.requires_grad_()
    quiz_loss = lesson.quiz_loss(assumed)
    v = dict(zip(assumed, _gradients(quiz_loss, tuple(assumed.values())), strict=True))
    cotangent = _cotangent(lesson, student_logits, teacher_logits, tangent_along(v))
    return Feedback(_gradients(teacher_logits, lesson.teachers, cotangent), quiz_loss.detach(), student_logits)


def _assumed(lesson: Lesson, gradients: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """θ' = θ − μ ∇θ L_kd, as new tensors: θ is never touched, so the graph of its forward stays valid."""
    pairs = zip(lesson.student.items(), gradients, strict=True)
    return {name: torch.add(theta, gradient, alpha=-lesson.inner_lr) for (name, theta), gradient in pairs}


def _cotangent(lesson: Lesson, student_logits: Tensor, teacher_logits: Tensor, tangent: Tensor) -> Tensor:
    """−μ ∂/∂z_T ⟨∂L_kd/∂z_S, ż⟩, [B, C]: all the teachers ever need to know of student and quiz."""
    z_s = student_logits.detach().requires_grad_()
    z_t = teacher_logits.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(lesson.distillation_loss(z_s, z_t), z_s, create_graph=True)
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


def same_dropout(function: Callable[[Parameters], Tensor]) -> Callable[[Parameters], Tensor]:
    """``function``, with every call after the first drawing what the first drew: one dropout mask for all."""
    first: list[tuple[Tensor, ...]] = []

    def call(parameters: Parameters) -> Tensor:
        device = next(iter(parameters.values())).device
        before = _random_states(device)
        if not first:
            first.append(before)
            return function(parameters)
        _set_random_states(device, first[0])
        try:
            return function(parameters)
        finally:
            _set_random_states(device, before)

    return call


def _random_states(device: torch.device) -> tuple[Tensor, ...]:
    own = () if device.type == "cpu" else (torch.get_device_module(device).get_rng_state(),)
    return (torch.get_rng_state(), *own)


def _set_random_states(device: torch.device, states: tuple[Tensor, ...]) -> None:
    torch.set_rng_state(states[0])
    for own in states[1:]:
        torch.get_device_module(device).set_rng_state(own)


@contextmanager
def differentiable_attention() -> Iterator[None]:
    """The one scaled-dot-product kernel that has a second derivative and a forward mode."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 matmuls without autocast: a reduced precision drowns a difference quotient."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
