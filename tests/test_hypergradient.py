"""All four ways to the hypergradient agree, on random BERT, DistilBERT and RoBERTa classifiers in float64."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from kd_lab import hypergradient, precision
from kd_lab.data import TextDataModule
from kd_lab.dropout import same_dropout
from kd_lab.encoding import Batch
from kd_lab.errors import UserError
from kd_lab.lesson import Feedback, Lesson
from kd_lab.losses import SOFT_LOSSES
from kd_lab.methods.metadistil import MetaDistil
from kd_lab.models import Classifier, TeacherEnsemble
from kd_lab.tangent import Parameters, difference_tangent, differentiable_attention, exact_tangent

Make = Callable[..., Classifier]
MakeData = Callable[..., TextDataModule]
STUDENTS = ("bert", "distilbert", "roberta")


def meta(
    make: Make, make_data: MakeData, kind: str, teachers: int, dropout: float, soft_loss: str
) -> tuple[MetaDistil, Batch]:
    student = make(kind, 0, dropout)
    members = [
        make(name, seed, dropout)
        for seed, name in enumerate(itertools.islice(itertools.cycle(["bert", "roberta"]), teachers), 1)
    ]
    data = make_data([student, *members])
    method = MetaDistil(
        student, TeacherEnsemble(members), soft_loss=soft_loss, inner_lr=0.05, quiz_batch_size=4, quiz=data.quiz_batch
    ).double()
    method.train()
    return method, data.parts["train"].batch(range(6))


def feedback(method: MetaDistil, batch: Batch, way: Callable[[Lesson], Feedback]) -> Tensor:
    # DistilBERT's head has a ReLU: under a mask that puts a unit within ε of its kink no difference quotient is right.
    torch.manual_seed(12)
    return torch.cat([gradient.flatten() for gradient in way(method.lesson(batch, method.quiz_of(0))).gradients])


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("soft_loss", SOFT_LOSSES)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("teachers", [1, 2])
@pytest.mark.parametrize("kind", STUDENTS)
def test_the_three_ways_agree(
    classifier: Make, toy_data: MakeData, kind: str, teachers: int, dropout: float, soft_loss: str
) -> None:
    method, batch = meta(classifier, toy_data, kind, teachers, dropout, soft_loss)
    yardstick = feedback(method, batch, hypergradient.unrolled)
    assert yardstick.norm() > 0
    assert distance(feedback(method, batch, hypergradient.forward_mode), yardstick) < 1e-9
    assert distance(feedback(method, batch, hypergradient.reverse_mode), yardstick) < 1e-9

    def error(epsilon: float) -> float:
        way = lambda lesson: hypergradient.finite_difference(lesson, epsilon)  # noqa: E731
        return distance(feedback(method, batch, way), yardstick)

    assert error(1e-3) < 1e-4
    assert 80 < error(1e-3) / error(1e-4) < 120


def test_a_lesson_leaves_the_student_as_it_was(classifier: Make, toy_data: MakeData) -> None:
    method, batch = meta(classifier, toy_data, "distilbert", 1, 0.1, "kl")
    before = {name: value.clone() for name, value in method.student.state_dict().items()}
    for way in hypergradient.HYPERGRADIENTS.values():
        feedback(method, batch, way)
        assert all(torch.equal(value, before[name]) for name, value in method.student.state_dict().items())
        assert all(parameter.grad is None for parameter in method.parameters())
        assert method.student.training
        assert all(module.training for module in method.student.modules())


@pytest.mark.parametrize("way", hypergradient.HYPERGRADIENTS)
def test_the_graph_of_the_student_serves_the_real_step(classifier: Make, toy_data: MakeData, way: str) -> None:
    """One forward and one dropout mask serve the assumed and the real step."""
    method, batch = meta(classifier, toy_data, "bert", 1, 0.1, "kl")
    torch.manual_seed(7)
    logits = hypergradient.HYPERGRADIENTS[way](method.lesson(batch, method.quiz_of(0))).student_logits
    assert logits is not None
    gradient = torch.autograd.grad(logits.sum(), list(method.student.parameters()), materialize_grads=True)
    torch.manual_seed(7)
    with differentiable_attention():
        again = method.student(batch)
    assert torch.equal(logits, again)
    fresh = torch.autograd.grad(again.sum(), list(method.student.parameters()), materialize_grads=True)
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(gradient, fresh, strict=True))


def test_nothing_differentiates_through_a_forward_mode_derivative() -> None:
    """Backward through a jvp of a network with LayerNorm is silently wrong: the tangent must come as a constant."""
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double()
    parameters = dict(network.named_parameters())
    inputs = torch.randn(3, 4, dtype=torch.float64)

    def function(values: Parameters) -> Tensor:
        return torch.func.functional_call(network, dict(values), (inputs,))  # type: ignore[no-any-return]

    direction = {name: torch.randn_like(value).requires_grad_() for name, value in parameters.items()}
    tangent = exact_tangent(function, parameters, direction)
    assert not tangent.requires_grad
    assert tangent.grad_fn is None
    assert torch.autograd.forward_ad.unpack_dual(tangent).tangent is None  # type: ignore[no-untyped-call]
    difference = difference_tangent(function, parameters, direction, 1e-4)
    assert not difference.requires_grad
    assert distance(difference, tangent) < 1e-6


def test_a_student_without_a_slope_gives_no_feedback() -> None:
    """‖v‖ = 0 must not become a division by zero."""
    direction = {"w": torch.zeros(3, dtype=torch.float64)}
    tangent = difference_tangent(
        lambda values: values["w"] ** 2, {"w": torch.ones(3, dtype=torch.float64)}, direction, 1e-3
    )
    assert torch.equal(tangent, torch.zeros(3, dtype=torch.float64))


def test_every_call_draws_the_dropout_of_the_first_and_the_next_step_draws_anew() -> None:
    dropout = nn.Dropout(0.5)
    ones = {"x": torch.ones(64)}

    def masked(values: Parameters) -> Tensor:
        return dropout(values["x"])  # type: ignore[no-any-return]

    first, second = same_dropout(masked), same_dropout(masked)
    a = first(ones)
    assert torch.equal(first(ones), a)
    b = second(ones)
    assert not torch.equal(a, b)
    assert torch.equal(first(ones), a)
    assert torch.equal(second(ones), b)


@pytest.mark.parametrize("way", ["reverse_mode", "forward_mode", "finite_difference"])
@pytest.mark.parametrize("name", precision.LIGHTNING)
def test_every_precision_points_where_float64_points(name: str, way: str, classifier: Make, toy_data: MakeData) -> None:
    method, batch = meta(classifier, toy_data, "bert", 2, 0.0, "kl")
    exact = feedback(method, batch, hypergradient.unrolled)
    method.float()
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16-mixed")
    with precision.of(name), mixed:
        found = feedback(method, batch, hypergradient.HYPERGRADIENTS[way])
    assert torch.nn.functional.cosine_similarity(found.double(), exact, dim=0) >= 0.999


def test_where_torch_has_no_forward_mode_one_line_says_what_does_without() -> None:
    def function(parameters: Parameters) -> Tensor:
        raise NotImplementedError("Trying to use forward AD with linear")

    one = {"weight": torch.ones(1)}
    with pytest.raises(UserError, match=r"no forward mode for this student here: method\.hypergradient=reverse_mode"):
        exact_tangent(function, one, one)
