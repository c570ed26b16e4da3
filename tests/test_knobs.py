"""Each knob of MetaDistil and each control beside its equations, in float64; without effect at its neutral value."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from kd_lab import building, hypergradient, quiet
from kd_lab.composition import method_named
from kd_lab.data import TextDataModule
from kd_lab.encoding import Batch
from kd_lab.losses import COMBINATIONS
from kd_lab.methods.metadistil import MetaDistil
from kd_lab.models import Classifier, TeacherEnsemble
from kd_lab.optimization import Optimization
from kd_lab.tangent import differentiable_attention, minus_mean

Make = Callable[..., Classifier]
MakeData = Callable[..., TextDataModule]
STEPS = 6


@pytest.fixture
def trained(classifier: Make, toy_data: MakeData, tmp_path: Path) -> Callable[..., dict[str, Tensor]]:
    """The weights after some steps of a method, by name, in float64; the first loss's rows are the same for all."""
    quiet.libraries()

    def make(name: str, count: int = 2, **changes: Any) -> dict[str, Tensor]:
        student, teachers = classifier("distilbert", 0, 0.1), [classifier("bert", 1), classifier("roberta", 2)][:count]
        data = toy_data([student, *teachers], batch_size=8)
        if name == "metadistil":
            changes = {"label_loss": 0.0, "teacher_every": 1} | changes
        method = method_named(name).model_copy(update=changes)
        method.model_fields_set.update(changes)
        built = building.build(method, student, TeacherEnsemble(teachers), quiz=data.quiz_batch)
        bare = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        options: Any = {"logger": False, "accelerator": "cpu", "default_root_dir": tmp_path, **bare}
        Trainer(max_steps=STEPS, max_epochs=1, precision="64-true", **options).fit(
            built, data.train_dataloader(), data.val_dataloader()
        )
        return {name: value.clone() for name, value in built.state_dict().items()}

    return make


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def part_of(weights: dict[str, Tensor], prefix: str) -> Tensor:
    return torch.cat([value.flatten().double() for name, value in weights.items() if name.startswith(prefix)])


def test_every_knob_does_something(trained: Callable[..., dict[str, Tensor]]) -> None:
    plain = trained("metadistil")
    others: dict[str, Any] = {
        "teacher_weights": "confidence",
        "preconditioned": True,
        "teacher_optimizer": "sgd",
        "label_loss": 1e-3,
        "frozen": 0.5,
        "hypergradient": "labels",
    }
    assert not equal(trained("metadistil", hypergradient="centred"), plain)
    for name, value in others.items():
        assert not equal(trained("metadistil", **{name: value}), plain), name


def test_teachers_that_are_frozen_throughout_are_those_of_plain_distillation(
    trained: Callable[..., dict[str, Tensor]],
) -> None:
    frozen, plain = trained("metadistil", frozen=1.0), trained("kd")
    assert equal(frozen, plain)
    # The whole meta-step, but for the teachers' move, draws the same dropout and takes the same steps.
    still = trained("metadistil", teacher_lr=0.0)
    assert torch.equal(part_of(still, "teachers."), part_of(plain, "teachers."))
    assert (part_of(still, "student.") - part_of(plain, "student.")).norm() < 1e-9 * part_of(plain, "student.").norm()


def test_teachers_stand_still_for_the_first_part_and_their_schedule_begins_after_it(
    classifier: Make, toy_data: MakeData, tmp_path: Path
) -> None:
    quiet.libraries()
    student, teacher = classifier("distilbert", 0), classifier("bert", 1)
    data = toy_data([student, teacher], batch_size=8)
    method = MetaDistil(student, TeacherEnsemble([teacher]), frozen=0.45, teacher_every=2, quiz=data.quiz_batch)
    moved, rates, original = [], [], method.move_teachers

    def watch() -> None:
        moved.append(method.global_step)
        rates.append(method.optimizers(use_pl_optimizer=False)[1].param_groups[0]["lr"])  # type: ignore[index]
        original()

    method.move_teachers = watch  # type: ignore[method-assign]
    bare: Any = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    Trainer(max_epochs=1, accelerator="cpu", logger=False, default_root_dir=tmp_path, **bare).fit(
        method, data.train_dataloader(), data.val_dataloader()
    )
    assert moved == [10, 12, 14, 16, 18]
    assert rates == pytest.approx([2e-6, 2e-6, 1.5e-6, 1e-6, 5e-7])


def test_the_teachers_of_a_meta_step_read_what_noise_for_the_student_leaves_alone(
    classifier: Make, toy_data: MakeData
) -> None:
    student, teacher = classifier("distilbert", 0), classifier("bert", 1)
    data = toy_data([student, teacher], noise="word", p=0.5, clean_for_teachers=True)
    method = MetaDistil(student, TeacherEnsemble([teacher]), quiz=data.quiz_batch)
    batch = data.parts["train"].batch(range(6), 0)
    (part,) = method.lesson(batch, method.quiz_of(0)).parts
    (taught,) = part.teacher_logits
    assert torch.equal(taught(), teacher(batch.for_teachers()))
    assert not torch.equal(taught(), teacher(batch))


def lesson(make: Make, make_data: MakeData, **knobs: Any) -> tuple[MetaDistil, Batch, list[Batch]]:
    student, members = make("distilbert", 0), [make("bert", 1), make("roberta", 2)]
    data = make_data([student, *members])
    method = MetaDistil(
        student, TeacherEnsemble(members), inner_lr=0.05, quiz_batch_size=4, quiz=data.quiz_batch, **knobs
    ).double()
    method.train()
    return method, data.parts["train"].batch(range(6)), method.quiz_of(0)


def gradients(method: MetaDistil, batch: Batch, quiz: list[Batch], way: str) -> Tensor:
    found = hypergradient.WAYS[way](method.lesson(batch, quiz)).gradients
    return torch.cat([gradient.flatten() for gradient in found])


def by_teachers(method: MetaDistil, loss: Tensor) -> Tensor:
    found = torch.autograd.grad(loss, tuple(method.teachers.parameters()), materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in found])


def close(a: Tensor, b: Tensor, error: float = 1e-9) -> bool:
    return bool((a - b).norm() <= error * b.norm()) and bool(b.norm() > 0)


def own_loss(method: MetaDistil, batch: Batch) -> Tensor:
    return torch.stack([cross_entropy(member(batch), batch.labels) for member in method.teachers]).sum()


@pytest.mark.parametrize("way", ["reverse_mode", "forward_mode", "unrolled"])
@pytest.mark.parametrize("size", [None, 2])
def test_the_label_loss_adds_its_own_gradient(classifier: Make, toy_data: MakeData, way: str, size: int | None) -> None:
    """∇φ [L_quiz + λ Σ_k L_ce(z_k, y)]."""
    without, batch, quiz = lesson(classifier, toy_data, micro_batch_size=size)
    kept, _, _ = lesson(classifier, toy_data, micro_batch_size=size, label_loss=0.3)
    plain = gradients(without, batch, quiz, way)
    expected = plain + 0.3 * by_teachers(without, own_loss(without, batch))
    assert close(gradients(kept, batch, quiz, way), expected)


@pytest.mark.parametrize("size", [None, 4])
def test_a_centred_hypergradient_has_no_say_on_how_often_a_class_is_said(
    classifier: Make, toy_data: MakeData, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    """−μ ∇φ ⟨∂L_kd/∂z_S, ż − mean ż⟩: the exact one without what all sentences hear alike."""
    method, batch, quiz = lesson(classifier, toy_data, micro_batch_size=size)
    exact = gradients(method, batch, quiz, "forward_mode")
    heard: list[Tensor] = []

    def listen(tangents: Sequence[Tensor], add_up: Callable[[Sequence[Tensor]], None]) -> list[Tensor]:
        heard.extend(tangents)
        return minus_mean(tangents, add_up)

    monkeypatch.setattr("kd_lab.hypergradient.minus_mean", listen)
    found = gradients(method, batch, quiz, "centred")
    assert len(heard) == (1 if size is None else 2)
    z_s, taught = method.student(batch), method.teachers.member_logits(batch)
    (slope,) = torch.autograd.grad(method.distillation_loss(z_s, taught, batch.labels), z_s, create_graph=True)
    alike = by_teachers(method, -0.05 * (slope * torch.cat(heard).mean(dim=0)).sum())
    assert alike.norm() > 1e-3 * exact.norm()
    assert close(found, exact - alike)


def test_teachers_of_the_control_learn_from_their_own_loss_on_the_quiz(classifier: Make, toy_data: MakeData) -> None:
    method, batch, quiz = lesson(classifier, toy_data)
    assert close(gradients(method, batch, quiz, "labels"), by_teachers(method, own_loss(method, quiz[0])))
    kept, _, _ = lesson(classifier, toy_data, label_loss=0.3)
    both = by_teachers(method, own_loss(method, quiz[0]) + 0.3 * own_loss(method, batch))
    assert close(gradients(kept, batch, quiz, "labels"), both)


def adam_scale(optimizer: torch.optim.Optimizer, slopes: list[Tensor]) -> list[Tensor]:
    """Algorithm 2 of arXiv 1711.05101, written out: what a gradient that was clipped at 1 is multiplied with."""
    clipping = min(1.0, 1.0 / torch.cat([slope.flatten() for slope in slopes]).norm().item())
    scales = []
    for parameter, slope in zip(optimizer.param_groups[0]["params"], slopes, strict=True):
        steps, second = 0, torch.zeros_like(slope)
        if optimizer.state.get(parameter):
            steps = int(optimizer.state[parameter]["step"])
            second = optimizer.state[parameter]["exp_avg_sq"]
        second = 0.999 * second + 0.001 * (clipping * slope) ** 2
        scale = clipping / ((second / (1 - 0.999 ** (steps + 1))).sqrt() + 1e-8)
        scales.append(torch.where(second > 0, scale, 0.0))
    return scales


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("way", ["reverse_mode", "forward_mode", "finite_difference", "unrolled"])
def test_the_preconditioned_step_is_adams_own(classifier: Make, toy_data: MakeData, way: str, steps: int) -> None:
    """θ' = θ − μ P ∇θ L_kd, differentiated as it stands, with a second-order graph."""
    method, batch, quiz = lesson(classifier, toy_data, preconditioned=True)
    method.inner_lr = 1e-4
    optimizer = Optimization().optimizer(method.student.parameters(), 1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        method.loss(batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    method.optimizers = lambda use_pl_optimizer=True: [optimizer, None]  # type: ignore[method-assign, assignment]
    theta: dict[str, Tensor] = dict(method.student.named_parameters())
    method.student.eval()
    with differentiable_attention():
        taught = torch.stack([member(batch) for member in method.teachers])
        loss = method.distillation_loss(functional_call(method.student, theta, (batch,)), taught, batch.labels)
        slopes = torch.autograd.grad(loss, list(theta.values()), create_graph=True, materialize_grads=True)
        scales = adam_scale(optimizer, [slope.detach() for slope in slopes])
        assumed = {n: t - 1e-4 * p * g for (n, t), p, g in zip(theta.items(), scales, slopes, strict=True)}
        answered = functional_call(method.student, assumed, (quiz[0],))
        expected = by_teachers(method, cross_entropy(answered, quiz[0].labels))
    method.train()
    error = 1e-3 if way == "finite_difference" else 1e-9
    assert close(gradients(method, batch, quiz, way), expected, error)


def test_the_scale_of_an_excerpt_is_that_of_its_rows(classifier: Make, toy_data: MakeData) -> None:
    method, batch, quiz = lesson(classifier, toy_data, preconditioned=True)
    optimizer = Optimization().optimizer(method.student.parameters(), 1e-3)
    method.loss(batch).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    method.optimizers = lambda use_pl_optimizer=True: [optimizer, None]  # type: ignore[method-assign, assignment]
    whole = gradients(method, batch, quiz, "reverse_mode")
    with method.student.excerpt(batch, *quiz):
        assert close(gradients(method, batch, quiz, "reverse_mode"), whole)


def test_confidence_weighs_each_sentence_and_is_held_constant(classifier: Make, toy_data: MakeData) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1])
    expected = torch.zeros(5, 2, dtype=torch.float64)
    for row in range(5):
        errors = [cross_entropy(logits[k, row], labels[row]).exp().item() for k in range(3)]
        for k in range(3):
            expected[row] += (1 - errors[k] / sum(errors)) / 2 * logits[k, row]
    assert torch.allclose(COMBINATIONS["confidence"](logits, labels), expected, rtol=1e-12)
    assert torch.equal(COMBINATIONS["confidence"](logits[:1], labels), logits[0])
    method, batch, quiz = lesson(classifier, toy_data, teacher_weights="confidence")
    plain, _, _ = lesson(classifier, toy_data)
    yardstick = gradients(method, batch, quiz, "unrolled")
    assert close(gradients(method, batch, quiz, "reverse_mode"), yardstick)
    assert not close(gradients(plain, batch, quiz, "reverse_mode"), yardstick, 1e-6)


def test_plain_descent_keeps_the_scale_of_the_hypergradient(classifier: Make) -> None:
    model, other = classifier("bert"), classifier("bert")
    start = copy.deepcopy(model)
    for one, size in ((model, 1.0), (other, 10.0)):
        for parameter in one.parameters():
            parameter.grad = size * parameter.detach()
        Optimization().descent(one.parameters(), 1e-3).step()
    for a, b, first in zip(model.parameters(), other.parameters(), start.parameters(), strict=True):
        assert torch.allclose(a, first - 1e-3 * first)
        assert torch.allclose(b, first - 1e-2 * first)


def test_the_quiz_rows_are_trained_on_where_it_is_asked(classifier: Make, toy_data: MakeData) -> None:
    student = classifier("bert")
    without, within = toy_data([student]), toy_data([student], train_on_quiz=True)
    rows, quiz = without.parts["train"].numbers, without.parts["quiz"].numbers
    assert list(within.parts["train"].numbers) == [*rows, *quiz]
    assert list(toy_data([student], train_on_quiz=False).parts["train"].numbers) == list(rows)


def test_a_quiz_may_be_made_of_its_first_rows_alone(classifier: Make, toy_data: MakeData) -> None:
    student = classifier("bert")
    whole, few = toy_data([student]), toy_data([student], quiz_rows=3)
    numbers = list(whole.parts["quiz"].numbers)
    assert sorted(whole.quiz_batch(0, 1000).rows.tolist()) == sorted(numbers)
    assert sorted(few.quiz_batch(0, 1000).rows.tolist()) == sorted(numbers[:3])
