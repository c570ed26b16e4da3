"""How the quiz reaches the teacher: ∇φ of the quiz loss after an assumed step of the student.

The student θ takes one assumed step of plain gradient descent on the distillation loss,

    θ'(φ) = θ − μ ∇θ L_kd(z_S(θ), z_T(φ)),        z_S, z_T: logits of student and teachers, [B, C]

and answers a quiz with θ'. The teachers φ learn from −∇φ L_quiz(θ'(φ)). Since φ enters only through z_T and θ only
through z_S, with v = ∇θ' L_quiz(θ') and the tangent ż = (∂z_S/∂θ) v held constant,

    ∇φ L_quiz(θ'(φ)) = −μ ∇φ ⟨ ∂L_kd/∂z_S (z_S, z_T(φ)), ż ⟩

so the teachers need one cotangent of the shape of their logits and one ordinary backward pass. The functions below
differ in how they come by ż; ``unrolled`` differentiates the assumed step itself and is the yardstick.

Two things may be added. A diagonal P scales the assumed step, θ' = θ − μ P ∇θ L_kd, as the student's optimizer would
(``Lesson.scale``); then ż = (∂z_S/∂θ) P v. And what the teachers minimise on the training batch beside the quiz loss
(``Part.teacher_loss``) joins the cotangent.

MetaDistil: Zhou, Xu and McAuley, *BERT Learns to Teach* (ACL 2022, arXiv 2106.04570). The finite difference is that of
DARTS (Liu, Simonyan and Yang, ICLR 2019, arXiv 1806.09055, equation 8), taken in the logits.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

import torch
from torch import Tensor

from kd_lab.gradients import Gradients, added, gradients_of
from kd_lab.lesson import Feedback, Lesson, Part
from kd_lab.tangent import Logits, Parameters, difference_tangent, double_backward, exact_tangent, minus_mean

Hypergradient = Callable[[Lesson], Feedback]
Tangent = Callable[[Parameters], Tensor]
"""v -> ż."""
Slope = Callable[[Lesson, Part, Tensor, Tensor], tuple[Gradients, Tangent]]
"""(lesson, part, z_S, ∂L_kd/∂z_S) -> ∇θ of the part's loss, and the way from v to ż."""
Linearized = tuple[Tensor, list[Tensor], Tangent]
"""z_S, each teacher's logits, and the way from v to ż."""


def forward_mode(lesson: Lesson) -> Feedback:
    """The hypergradient with the exact tangent ż, by forward-mode differentiation."""
    return _from_tangent(lesson, partial(forward_slope, exact_tangent))


def reverse_mode(lesson: Lesson) -> Feedback:
    """The hypergradient with the exact tangent ż, by reverse-mode differentiation twice over.

    Faster than forward mode, since it finds the forward's activations where they are; it takes more memory, since the
    assumed step's backward leaves a graph. In micro-batches it is forward mode.
    """
    return _from_tangent(lesson, reverse_slope)


def centred(lesson: Lesson) -> Feedback:
    """As ``reverse_mode``, with ż less its mean over the batch: teachers hear which sentences to say a class of more
    surely, not to say it more often.

    A quiz batch has a few rows too many of one class, and asks for more or less of it on every sentence alike. That
    part of ż adds up over the batch, with a sign that is the draw's. What is left of (7) in docs/metadistil.md is a
    covariance of the teachers' probabilities with ż.
    """
    return _from_tangent(lesson, reverse_slope, partial(minus_mean, add_up=lesson.add_up))


def finite_difference(lesson: Lesson, epsilon: float = 1e-3) -> Feedback:
    """The hypergradient with ż from the student's logits at θ ± (ε/‖v‖) v; its error falls with ε².

    Works with every attention kernel. ``epsilon`` is the length of the displacement in θ.
    """
    return _from_tangent(lesson, partial(forward_slope, partial(difference_tangent, epsilon=epsilon)))


def unrolled(lesson: Lesson) -> Feedback:
    """The hypergradient by differentiating through the assumed step, second-order graph and all: the yardstick.

    The graphs of all parts stay: micro-batches save no memory here.
    """
    theta, phi = tuple(lesson.student.values()), tuple(chain(*lesson.teachers))
    student_logits = [part.student_logits(lesson.student) for part in lesson.parts]
    taught = [torch.stack([logits() for logits in part.teacher_logits]) for part in lesson.parts]
    losses = [part.distillation_loss(*both) for part, *both in zip(lesson.parts, student_logits, taught, strict=True)]
    own = [part.teacher_loss(logits) for part, logits in zip(lesson.parts, taught, strict=True) if part.teacher_loss]
    gradients = gradients_of(torch.stack(losses).sum(), theta, create_graph=True)
    together = tuple(gradient.detach().clone() for gradient in gradients)
    lesson.add_up(together)
    scale = lesson.scale(together) if lesson.scale else None
    quiz_loss, v = quiz_gradient(lesson, assumed_step(lesson, together, scale))
    along = [-lesson.inner_lr * slope for slope in _scaled(v, scale).values()]
    hypergradient = torch.autograd.grad(
        [*gradients, *own], phi, [*along, *map(torch.ones_like, own)], retain_graph=True, materialize_grads=True
    )
    lesson.add_up(hypergradient)
    return Feedback(hypergradient, quiz_loss, student_logits[0] if lesson.whole else None)


HYPERGRADIENTS: dict[str, Hypergradient] = {
    "reverse_mode": reverse_mode,
    "forward_mode": forward_mode,
    "finite_difference": finite_difference,
    "unrolled": unrolled,
}


def from_labels(lesson: Lesson) -> Feedback:
    """No hypergradient but the control beside it: ∇φ of the teachers' own loss on the quiz; the student has no say."""
    phi = tuple(chain(*lesson.teachers))
    own = tuple(partial(_own_loss, part) for part in lesson.parts if part.teacher_loss is not None)
    losses: list[Tensor] = []
    total: Gradients = ()
    for teacher_loss in lesson.teacher_quiz_losses + own:
        loss = teacher_loss()
        losses.append(loss.detach())
        total = added(total, gradients_of(loss, phi))
    quiz_loss = torch.stack(losses[: len(lesson.teacher_quiz_losses)]).sum()
    lesson.add_up([quiz_loss, *total])
    return Feedback(total, quiz_loss, None)


WAYS: dict[str, Hypergradient] = {**HYPERGRADIENTS, "centred": centred, "labels": from_labels}
"""How the quiz may reach the teachers."""


def _own_loss(part: Part) -> Tensor:
    assert part.teacher_loss is not None
    return part.teacher_loss(torch.stack([logits() for logits in part.teacher_logits]))


def _from_tangent(
    lesson: Lesson, slope: Slope, adjusted: Callable[[Sequence[Tensor]], Sequence[Tensor]] = tuple
) -> Feedback:
    linearized: list[Linearized] = []
    gradients: Gradients = ()
    for part in lesson.parts:
        kept, own = _linearized(lesson, part, slope)
        linearized.append(kept)
        gradients = added(gradients, own)
    lesson.add_up(gradients)
    with torch.no_grad():
        scale = lesson.scale(gradients) if lesson.scale else None
        assumed = assumed_step(lesson, gradients, scale)
    quiz_loss, v = quiz_gradient(lesson, assumed)
    v = _scaled(v, scale)
    hypergradient: Gradients = ()
    tangents = adjusted([tangent_along(v) for *_, tangent_along in linearized])
    for part, tangent, (student_logits, members, _) in zip(lesson.parts, tangents, linearized, strict=True):
        taught = torch.stack([logits.detach() for logits in members])
        cotangents = _cotangents(lesson, part, student_logits, taught, tangent)
        backwards = zip(lesson.teachers, members, part.teacher_logits, cotangents, strict=True)
        told = (gradients_of(kept if lesson.whole else again(), phi, c) for phi, kept, again, c in backwards)
        hypergradient = added(hypergradient, tuple(chain.from_iterable(told)))
    lesson.add_up(hypergradient)
    return Feedback(hypergradient, quiz_loss, linearized[0][0] if lesson.whole else None)


def _linearized(lesson: Lesson, part: Part, slope: Slope) -> tuple[Linearized, Gradients]:
    """Logits of student and teachers on a part, and ∇θ of its loss; the graphs of a whole batch stay."""
    student_logits = part.student_logits(lesson.student)
    with torch.set_grad_enabled(lesson.whole):
        members = [logits() for logits in part.teacher_logits]
    z_s, taught = student_logits.detach().requires_grad_(), torch.stack([m.detach() for m in members])
    (cotangent,) = gradients_of(part.distillation_loss(z_s, taught), (z_s,))
    gradients, tangent_along = slope(lesson, part, student_logits, cotangent)
    return (student_logits if lesson.whole else student_logits.detach(), members, tangent_along), gradients


def forward_slope(
    tangent_along: Callable[[Logits, Parameters, Parameters], Tensor],
    lesson: Lesson,
    part: Part,
    student_logits: Tensor,
    cotangent: Tensor,
) -> tuple[Gradients, Tangent]:
    """∇θ of the part's loss by one backward pass, and ż by further forward passes."""
    theta = tuple(lesson.student.values())
    gradients = gradients_of(student_logits, theta, cotangent, retain_graph=lesson.whole)
    return gradients, lambda v: tangent_along(part.student_logits, lesson.student, v)


def reverse_slope(lesson: Lesson, part: Part, student_logits: Tensor, cotangent: Tensor) -> tuple[Gradients, Tangent]:
    """∇θ of the part's loss with its graph, and ż by a backward pass through that."""
    if not lesson.whole:  # a graph per part would hold what the parts are there to spare
        return forward_slope(exact_tangent, lesson, part, student_logits, cotangent)
    return double_backward(student_logits, lesson.student, cotangent)


def quiz_gradient(lesson: Lesson, assumed: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """L_quiz of the assumed student, and v, its gradient there."""
    theta = tuple(value.requires_grad_() for value in assumed.values())
    losses: list[Tensor] = []
    total: Gradients = ()
    for quiz_loss in lesson.quiz_losses:
        loss = quiz_loss(assumed)
        total = added(total, gradients_of(loss, theta))
        losses.append(loss.detach())
    together = torch.stack(losses).sum()
    lesson.add_up([together, *total])
    return together, dict(zip(assumed, total, strict=True))


def assumed_step(
    lesson: Lesson, gradients: Sequence[Tensor], scale: Sequence[Tensor] | None = None
) -> dict[str, Tensor]:
    """θ' = θ − μ P ∇θ L_kd, as new tensors: θ is never touched, so the graph of its forward stays valid."""
    steps = gradients if scale is None else [p * gradient for p, gradient in zip(scale, gradients, strict=True)]
    pairs = zip(lesson.student.items(), steps, strict=True)
    return {name: torch.add(theta, step, alpha=-lesson.inner_lr) for (name, theta), step in pairs}


def _scaled(direction: dict[str, Tensor], scale: Sequence[Tensor] | None) -> dict[str, Tensor]:
    if scale is None:
        return direction
    return {name: p * value for (name, value), p in zip(direction.items(), scale, strict=True)}


def _cotangents(lesson: Lesson, part: Part, student_logits: Tensor, taught: Tensor, tangent: Tensor) -> Tensor:
    """−μ ∂/∂z_T ⟨∂L_kd/∂z_S, ż⟩, [K, B, C]: all the teachers ever need to know of student and quiz.

    The slope of their own loss joins it.
    """
    z_s, z_t = student_logits.detach().requires_grad_(), taught.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(part.distillation_loss(z_s, z_t), z_s, create_graph=True)
        objective = -lesson.inner_lr * (slope * tangent).sum()
        if part.teacher_loss is not None:
            objective = objective + part.teacher_loss(z_t)
        (cotangents,) = torch.autograd.grad(objective, z_t)
    return cotangents
