"""The passes of a training step, each by itself: their sum is the floor that the step stands on."""

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from kd_lab.bench.published import Published
from kd_lab.distiller import Distiller
from kd_lab.encoding import Batch
from kd_lab.gradients import gradients_of
from kd_lab.hypergradient import (
    assumed_step,
    finite_difference,
    forward_mode,
    forward_slope,
    quiz_gradient,
    reverse_slope,
    unrolled,
)
from kd_lab.lesson import Lesson, Part
from kd_lab.methods.metadistil import MetaDistil
from kd_lab.tangent import difference_tangent, exact_tangent

T = TypeVar("T")
SMALL = 1e-3  # a hypergradient is never clipped


class Watch(Protocol):
    """Carries out a pass under its name; whoever watches decides what is done beside."""

    def __call__(self, name: str, run: Callable[[], T]) -> T:
        """What ``run`` returns."""


def walk(method: Distiller, batch: Batch, step: int, watch: Watch) -> None:
    """Take ``step`` of ``method`` on ``batch`` again, pass by pass; weights and optimizers move as in training."""
    if isinstance(method, Published):
        _published(method, batch, step, watch)
    elif isinstance(method, MetaDistil) and (step < method.frozen_steps or step % method.teacher_every):
        _plain(method, batch, watch)
    elif isinstance(method, MetaDistil):
        _metadistil(method, batch, step, watch)
    else:
        _plain(method, batch, watch)


def _plain(method: Distiller, batch: Batch, watch: Watch) -> None:
    with method.student.excerpt(batch):
        if method.teachers is not None:
            _teachers_now(method, batch, watch)
        logits = watch("student forward", lambda: method.student(batch))
        _student_backward(method, cross_entropy(logits, batch.labels), watch)
    _move(method, 0, "student", watch)


def _metadistil(method: MetaDistil, batch: Batch, step: int, watch: Watch) -> None:
    quiz = method.quiz_of(step)
    with method.student.excerpt(batch, *quiz):
        with method.teachers.excerpt(batch):
            lesson = method.lesson(batch, quiz)
            part = lesson.parts[0]
            logits = watch("student forward", lambda: part.student_logits(lesson.student))
            members = watch("teachers forward with graph", lambda: [member() for member in part.teacher_logits])
            teach = _by_unrolling if method.hypergradient is unrolled else _by_tangent
            _accept(method, teach(method, lesson, logits, members, watch), watch)
        _move(method, 1, "teachers", watch)
        _teachers_now(method, batch, watch)
        again = part.distillation_loss(logits, torch.stack(members).detach())
        _student_backward(method, again, watch, "student backward again")
    _move(method, 0, "student", watch)


def _by_tangent(
    method: MetaDistil, lesson: Lesson, logits: Tensor, members: list[Tensor], watch: Watch
) -> tuple[Tensor, ...]:
    part = lesson.parts[0]
    slope = _slope(part, logits, torch.stack(members).detach())
    forward = method.hypergradient in (forward_mode, finite_difference)
    way = partial(forward_slope, _along(method)) if forward else reverse_slope
    slopes, tangent = watch("student backward", lambda: way(lesson, part, logits, slope))
    assumed = watch("assumed step", lambda: _assumed(lesson, slopes))
    _, along = watch("quiz", lambda: quiz_gradient(lesson, assumed))
    watch("tangent", lambda: tangent(along))
    return watch("teachers backward", lambda: _told(lesson, members))


def _by_unrolling(
    method: MetaDistil, lesson: Lesson, logits: Tensor, members: list[Tensor], watch: Watch
) -> tuple[Tensor, ...]:
    loss = lesson.parts[0].distillation_loss(logits, torch.stack(members))
    theta, phi = tuple(lesson.student.values()), tuple(chain(*lesson.teachers))
    slopes = watch("student backward with graph", lambda: gradients_of(loss, theta, create_graph=True))
    assumed = watch("assumed step", lambda: assumed_step(lesson, slopes))
    quiz_loss = watch("quiz forward", lambda: _sum([part(assumed) for part in lesson.quiz_losses]))
    return watch("second-order backward", lambda: gradients_of(quiz_loss, phi, retain_graph=True))


def _published(method: Published, batch: Batch, step: int, watch: Watch) -> None:
    copied = watch("copies", method.copies)
    assumed = watch("assumed step with graph", lambda: method.assumed(batch))
    del copied
    quiz_loss = watch("quiz forward", lambda: method.quiz_loss(assumed, method.quiz_of(step)))
    told = watch("second-order backward", lambda: method.feedback(quiz_loss))
    _accept(method, told, watch)
    _move(method, 1, "teachers", watch)
    loss = watch("distillation forward", lambda: method.loss(batch))
    _student_backward(method, loss, watch)
    _move(method, 0, "student", watch)


def _teachers_now(method: Distiller, batch: Batch, watch: Watch) -> None:
    assert method.teachers is not None
    with torch.no_grad():
        watch("teachers forward", lambda: method.teachers(batch))  # type: ignore[misc]


def _student_backward(method: Distiller, loss: Tensor, watch: Watch, name: str = "student backward") -> None:
    for parameter in method.student.parameters():
        parameter.grad = None
    watch(name, loss.backward)
    watch("student clipping", lambda: method.clip(method.student, loss.detach()))


def _accept(method: MetaDistil, gradients: tuple[Tensor, ...], watch: Watch) -> None:
    for parameter, gradient in zip(method.teachers.parameters(), gradients, strict=True):
        parameter.grad = gradient
    watch("teachers clipping", lambda: method.clip(method.teachers, gradients[0].sum()))


def _move(method: Distiller, number: int, whose: str, watch: Watch) -> None:
    watch(f"{whose} optimizer", method._all(method.optimizers(use_pl_optimizer=False))[number].step)
    torch.clear_autocast_cache()


def _slope(part: Part, logits: Tensor, taught: Tensor) -> Tensor:
    z_s = logits.detach().requires_grad_()
    return gradients_of(part.distillation_loss(z_s, taught), (z_s,), retain_graph=True)[0]


def _along(method: MetaDistil) -> Callable[..., Tensor]:
    return partial(difference_tangent, epsilon=1e-3) if method.hypergradient is finite_difference else exact_tangent


def _assumed(lesson: Lesson, slopes: tuple[Tensor, ...]) -> dict[str, Tensor]:
    with torch.no_grad():
        return assumed_step(lesson, slopes)


def _told(lesson: Lesson, members: list[Tensor]) -> tuple[Tensor, ...]:
    told: list[Tensor] = []
    for member, phi in zip(members, lesson.teachers, strict=True):
        told += gradients_of(SMALL * member.logsumexp(dim=-1).mean(), phi, retain_graph=True)
    return tuple(told)


def _sum(losses: list[Tensor]) -> Tensor:
    return torch.stack(losses).sum()
