"""The whole of MetaDistil beside a plain loop that is written out here, in float64."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from kd_lab import quiet
from kd_lab.data import TextDataModule
from kd_lab.methods.metadistil import MetaDistil
from kd_lab.models import Classifier, TeacherEnsemble
from kd_lab.optimization import Optimization
from kd_lab.tangent import differentiable_attention

STEPS, ALPHA, TEMPERATURE, INNER, STUDENT_LR, TEACHER_LR, DECAY = 20, 0.5, 5.0, 0.02, 1e-3, 5e-4, 0.01


def factor(step: int) -> float:
    """6% of 20 steps is 1: the first step is at the peak, then down in a straight line."""
    return min(step + 1, (STEPS - step) / (STEPS - 1))


class Adam:
    """AdamW under a clipped norm and the schedule, written out (arXiv 1711.05101, algorithm 2)."""

    def __init__(self, parameters: Sequence[Tensor], lr: float):
        self.parameters, self.lr, self.steps = parameters, lr, 0
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...]) -> None:
        norm = torch.stack([(g**2).sum() for g in gradients]).sum().sqrt()
        scale = min(1.0, 1.0 / (norm.item() + 1e-6))
        lr = self.lr * factor(self.steps)
        self.steps += 1
        for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
            m.mul_(0.9).add_(0.1 * scale * g)
            v.mul_(0.999).add_(0.001 * (scale * g) ** 2)
            p.mul_(1 - lr * DECAY)
            p.sub_(lr * (m / (1 - 0.9**self.steps)) / ((v / (1 - 0.999**self.steps)).sqrt() + 1e-8))


def distillation_loss(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    softened = (student / TEMPERATURE).softmax(-1) - (teacher / TEMPERATURE).softmax(-1)
    return ALPHA * TEMPERATURE**2 * (softened**2).mean() + (1 - ALPHA) * cross_entropy(student, labels)


def plain_loop(student: Classifier, teachers: list[Classifier], data: TextDataModule) -> dict[str, float]:
    """MetaDistil as its eight steps say, with a copied student and a second-order graph; what its last step saw."""
    theta = dict(student.named_parameters())
    phi = [parameter for teacher in teachers for parameter in teacher.parameters()]
    student_adam, teacher_adam = Adam(list(theta.values()), STUDENT_LR), Adam(phi, TEACHER_LR)
    student.eval()  # without dropout the modes are the same
    for step, batch in enumerate(data.train_dataloader()):
        quiz = data.quiz_batch(step, 4)
        with differentiable_attention():
            copied = {name: value.detach().clone().requires_grad_() for name, value in theta.items()}
            taught = torch.stack([teacher(batch) for teacher in teachers]).mean(0)
            loss = distillation_loss(functional_call(student, copied, (batch,)), taught, batch.labels)
            gradients = torch.autograd.grad(loss, list(copied.values()), create_graph=True)
            assumed = {name: value - INNER * g for (name, value), g in zip(copied.items(), gradients, strict=True)}
            quiz_loss = cross_entropy(functional_call(student, assumed, (quiz,)), quiz.labels)
            hypergradient = torch.autograd.grad(quiz_loss, phi, materialize_grads=True)
        with torch.no_grad():
            seen = {
                "quiz/loss_before": cross_entropy(student(quiz), quiz.labels).item(),
                "quiz/loss": quiz_loss.item(),
                "teacher/gradient_norm": torch.cat([part.flatten() for part in hypergradient]).norm().item(),
            }
        teacher_adam.step(hypergradient)
        with torch.no_grad():
            taught = torch.stack([teacher(batch) for teacher in teachers]).mean(0)
        loss = distillation_loss(student(batch), taught, batch.labels)
        student_adam.step(torch.autograd.grad(loss, list(theta.values()), materialize_grads=True))
    return seen


@pytest.mark.parametrize("way", ["forward_mode", "unrolled"])
@pytest.mark.parametrize("count", [1, 2])
def test_twenty_steps_end_in_the_weights_of_the_plain_loop(
    way: str, count: int, classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule], tmp_path: Path
) -> None:
    quiet.libraries()
    student, teachers = classifier("distilbert", 0), [classifier("bert", 1), classifier("roberta", 2)][:count]
    data = toy_data([student, *teachers], batch_size=8)
    assert len(data.train_dataloader()) == STEPS
    start = copy.deepcopy([student, *teachers])
    expected, *expected_teachers = [model.double() for model in copy.deepcopy(start)]
    seen = plain_loop(expected, expected_teachers, data)

    method = MetaDistil(
        student,
        TeacherEnsemble(teachers),
        alpha=ALPHA,
        temperature=TEMPERATURE,
        soft_loss="mse_probabilities",
        inner_lr=INNER,
        teacher_lr=TEACHER_LR,
        hypergradient=way,
        quiz_batch_size=4,
        optimization=Optimization(STUDENT_LR, DECAY),
        quiz=data.quiz_batch,
    )
    bare = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False, "logger": False}
    options = {"precision": "64-true", "accelerator": "cpu", "log_every_n_steps": 1, **bare}
    trainer = Trainer(max_epochs=1, default_root_dir=tmp_path, **options)  # type: ignore[arg-type]
    trainer.fit(method, data.train_dataloader(), data.val_dataloader())
    assert trainer.global_step == STEPS
    for name, value in seen.items():
        assert method.ledger.latest[name].item() == pytest.approx(value, rel=1e-6), name
    assert len(set(seen.values())) == 3
    for ours, theirs, first in zip([student, *teachers], [expected, *expected_teachers], start, strict=True):
        a, b, c = (torch.cat([p.detach().double().flatten() for p in m.parameters()]) for m in (ours, theirs, first))
        assert (a - b).norm() <= 1e-8 * b.norm()
        assert (a - b).norm() <= 1e-6 * (a - c).norm(), "equal weights that hardly moved would say little"


def test_the_student_sits_the_quiz_without_dropout_and_goes_on_with_it(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    student, teacher = classifier("distilbert", 0, 0.5), classifier("bert", 1)
    data = toy_data([student, teacher], batch_size=8)
    method, quiz = MetaDistil(student, TeacherEnsemble([teacher]), quiz=data.quiz_batch), data.quiz_batch(0, 4)
    lesson = method.lesson(data.parts["train"].batch(range(8)), [quiz])
    first, second = (sum(part(lesson.student).item() for part in lesson.quiz_losses) for _ in range(2))
    assert all(module.training for module in student.modules())
    assert first == second == pytest.approx(cross_entropy(student.eval()(quiz), quiz.labels).item(), rel=1e-5)


def test_between_teacher_updates_the_student_learns_from_teachers_that_stand_still(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule], tmp_path: Path
) -> None:
    quiet.libraries()
    student, teacher = classifier("distilbert", 0), classifier("bert", 1)
    data = toy_data([student, teacher], batch_size=8)
    drawn: list[int] = []

    def quiz(number: int, size: int):  # type: ignore[no-untyped-def]
        if size == 32:  # the whole quiz is for the evaluation
            drawn.append(number)
        return data.quiz_batch(number, size)

    method = MetaDistil(student, TeacherEnsemble([teacher]), teacher_every=3, quiz_batches=2, quiz=quiz)
    bare = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False, "logger": False}
    moved: list[bool] = []
    original, last = method.move_student, torch.cat([p.detach().flatten() for p in teacher.parameters()])

    def watch() -> None:
        nonlocal last
        original()
        now = torch.cat([p.detach().flatten() for p in teacher.parameters()])
        moved.append(not torch.equal(now, last))
        last = now

    method.move_student = watch  # type: ignore[method-assign]
    Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, **bare).fit(method, datamodule=data)  # type: ignore[arg-type]
    assert method.teacher_updates == 7
    assert moved == [step % 3 == 0 for step in range(20)]
    assert drawn == list(range(14))


def test_unknown_ways_and_a_missing_quiz_are_refused(classifier: Callable[..., Classifier]) -> None:
    student, teachers = classifier("distilbert"), TeacherEnsemble([classifier("bert")])
    with pytest.raises(ValueError, match="hypergradient=magic: choose one of reverse_mode"):
        MetaDistil(student, teachers, hypergradient="magic", quiz=lambda number, size: None)
    with pytest.raises(ValueError, match="needs a quiz"):
        MetaDistil(student, teachers)
