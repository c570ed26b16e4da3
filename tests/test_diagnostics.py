"""What tells whether a teacher learns to teach, beside the same worked out in full."""

import csv
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from kd_lab import experiment
from kd_lab.diagnostics import ENTRIES, Ledger, Movement, agreement
from kd_lab.settings import Settings


def whole(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.mark.parametrize(("width", "error"), [(20, 1e-5), (400, 0.03)])
def test_a_sample_moves_like_the_whole(width: int, error: float) -> None:
    torch.manual_seed(0)
    start = [torch.randn(width, width), torch.randn(width), torch.randn(2 * width, width)]
    assert (3 * width**2 > ENTRIES) == (width == 400)
    now = [tensor + 0.1 * torch.randn_like(tensor) for tensor in start]
    matrices, moved = (whole([some[0], some[2]]) for some in (start, now))
    far = ((moved - matrices).norm() / matrices.norm()).item()
    movement = Movement(start)
    assert movement.displacement(now).item() == pytest.approx(far, rel=error)
    again = Movement(now)
    again.go_on(movement.state())
    assert torch.equal(again.displacement(now), movement.displacement(now))


@pytest.mark.parametrize("first_of", [1.0, 1000.0])
def test_a_gradient_turns_as_it_does_wherever_most_of_it_lies(first_of: float) -> None:
    """In a real one half may lie in a bias or in a matrix of a few hundred entries."""
    torch.manual_seed(0)
    scales = (first_of, 1.0, 1.0)
    first = [scale * torch.randn(size) for scale, size in zip(scales, (300, 3000, 30_000), strict=True)]
    second = [a + scale * torch.randn_like(a) for a, scale in zip(first, scales, strict=True)]
    movement = Movement([torch.randn(10, 10), torch.randn(10), torch.randn(10)])
    assert movement.turn(first) is None
    first_before = [a.clone() for a in first]
    for gradient in first:
        gradient.zero_()  # its memory is the next step's
    turn = movement.turn(second)
    assert turn is not None
    assert turn.item() == pytest.approx(cosine_similarity(whole(first_before), whole(second), dim=0).item(), abs=1e-3)
    again = Movement([torch.randn(10, 10), torch.randn(10), torch.randn(10)])
    again.go_on(movement.state())
    assert again.turn(second).item() == pytest.approx(1, abs=1e-3)  # type: ignore[union-attr]


@pytest.mark.parametrize(("size", "cosine"), [(1e-15, 0.5), (0.0, 0.0)])
def test_small_gradients_have_a_cosine_and_none_has_none(size: float, cosine: float) -> None:
    movement, signs = Movement([torch.ones(4, 4)]), torch.tensor([1.0, 1.0, 1.0, -1.0])
    movement.turn([torch.full((4, 4), size)])
    assert movement.turn([size * signs.repeat(4, 1)]).item() == pytest.approx(cosine, abs=1e-2)  # type: ignore[union-attr]


def test_agreement_is_with_the_mean_of_the_teachers() -> None:
    student = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    teachers = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0.0, 3.0], [2.0, 0.0], [0.0, 1.0]]])
    assert agreement(student, teachers, torch.tensor([1, 0, 0])).tolist() == [0, 2, 3]


def test_an_epochs_means_are_over_its_rows() -> None:
    ledger = Ledger()
    for loss, counts in ((1.0, [1, 2, 4]), (3.0, [2, 0, 2])):
        ledger.losses.append(torch.tensor(loss))
        ledger.agreements.append(torch.tensor(counts))
    means = {name: value.item() for name, value in ledger.of_epoch("").items()}
    assert means == {"train/mean_loss": 2, "train/agreement": 0.5, "teacher/train/accuracy": pytest.approx(2 / 6)}
    other = Ledger()
    other.go_on(ledger.state())
    assert other.losses == ledger.losses
    ledger.new_epoch()
    assert ledger.losses == []


def test_steps_from_before_an_interruption_are_brought_to_where_the_others_are() -> None:
    ledger = Ledger()
    ledger.losses = [torch.tensor(1.0), torch.tensor(3.0, device="meta")]
    assert ledger.of_epoch("")["train/mean_loss"].device.type == "meta"


def test_a_run_keeps_all_of_it(compose: Callable[..., Settings]) -> None:
    every = 4
    moving = ("method=metadistil", "method.teacher_lr=1e-4", "method.teacher_every=1")
    result = experiment.train(compose(*moving, f"trainer.log_every_n_steps={every}", "warmup_epochs=0"))
    with (result.folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> list[float]:
        return [float(row[name]) for row in rows if row[name]]

    steps = result.steps // every
    for name in ("quiz/loss", "quiz/loss_before", "teacher/gradient_norm", "teacher/gradient_cosine"):
        assert len(column(name)) == steps, name
        assert all(math.isfinite(value) for value in column(name))
    assert all(-1 <= cosine <= 1 for cosine in column("teacher/gradient_cosine"))
    moved = column("teacher/displacement")
    assert 0 < moved[0] < moved[-1]
    for name in ("teacher/train/accuracy", "teacher/quiz/accuracy", "train/agreement", "validation/agreement"):
        assert len(column(name)) == result.epochs, name
        assert all(0 <= share <= 1 for share in column(name))
