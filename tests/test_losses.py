import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from kd_lab.losses import SOFT_LOSSES, DistillationLoss

torch.manual_seed(0)
STUDENT = torch.randn(5, 3, dtype=torch.float64)
TEACHER = torch.randn(5, 3, dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1, 1, 0])


def test_kl_is_the_formula_written_out() -> None:
    total = 0.0
    for s, t in zip(STUDENT.tolist(), TEACHER.tolist(), strict=True):
        p = [math.exp(x / 4) / sum(math.exp(y / 4) for y in t) for x in t]
        q = [math.exp(x / 4) / sum(math.exp(y / 4) for y in s) for x in s]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert SOFT_LOSSES["kl"](STUDENT, TEACHER, 4.0).item() == pytest.approx(16 * total / 5, rel=1e-12)


def test_the_mean_squared_ones_are_their_formulas() -> None:
    softened = (STUDENT / 2).softmax(-1) - (TEACHER / 2).softmax(-1)
    assert SOFT_LOSSES["mse_probabilities"](STUDENT, TEACHER, 2.0).item() == pytest.approx(
        4 * (softened**2).mean().item()
    )
    assert SOFT_LOSSES["mse_logits"](STUDENT, TEACHER, 2.0).item() == pytest.approx(
        ((STUDENT - TEACHER) ** 2).mean().item()
    )


@pytest.mark.parametrize("name", SOFT_LOSSES)
def test_every_soft_loss_vanishes_where_student_and_teacher_agree_and_nowhere_else(name: str) -> None:
    assert SOFT_LOSSES[name](TEACHER, TEACHER, 2.0).item() == pytest.approx(0, abs=1e-15)
    assert SOFT_LOSSES[name](STUDENT, TEACHER, 2.0).item() > 1e-3


@pytest.mark.parametrize("name", SOFT_LOSSES)
def test_every_soft_loss_reaches_student_and_teacher_at_any_scale(name: str) -> None:
    student, teacher = (100 * STUDENT).requires_grad_(), (-100 * TEACHER).requires_grad_()
    gradients = torch.autograd.grad(SOFT_LOSSES[name](student, teacher, 50.0), (student, teacher))
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients)


def test_the_temperature_does_not_change_the_size_of_kls_gradient_much() -> None:
    def norm(temperature: float) -> float:
        student = STUDENT.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(SOFT_LOSSES["kl"](student, TEACHER, temperature), student)
        return float(gradient.norm())

    assert 0.3 < norm(20.0) / norm(5.0) < 3


def test_alpha_mixes_soft_loss_and_cross_entropy() -> None:
    hard, soft, mixed = (DistillationLoss(alpha)(STUDENT, TEACHER[None], LABELS) for alpha in (0.0, 1.0, 0.3))
    assert hard.item() == pytest.approx(cross_entropy(STUDENT, LABELS).item())
    assert soft.item() == pytest.approx(SOFT_LOSSES["kl"](STUDENT, TEACHER, 2.0).item())
    assert mixed.item() == pytest.approx((0.3 * soft + 0.7 * hard).item())


@pytest.mark.parametrize("bad", [{"alpha": 1.5}, {"alpha": -0.1}, {"temperature": 0.0}, {"soft_loss": "cosine"}])
def test_bad_settings_are_refused_by_name(bad: dict[str, float | str]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
        DistillationLoss(**bad)  # type: ignore[arg-type]


def test_the_mean_of_teachers_is_not_taken_for_teachers() -> None:
    """It would be averaged over the batch, and broadcasting would hide it."""
    logits, labels = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    loss = DistillationLoss()
    assert loss(logits, torch.randn(3, 4, 2), labels).shape == ()
    with pytest.raises(ValueError, match=r"teachers' logits are \[4, 2\]"):
        loss(logits, torch.randn(4, 2), labels)
