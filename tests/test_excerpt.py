"""A step that knows only its own tokens has the gradient of one that knows them all."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from kd_lab import excerpt
from kd_lab.data import TextDataModule
from kd_lab.encoding import Batch
from kd_lab.models import Classifier

Make = Callable[..., Classifier]
MakeData = Callable[..., TextDataModule]


def gradients(model: Classifier, batch: Batch, *, cut_down: bool) -> list[torch.Tensor]:
    for parameter in model.parameters():
        parameter.grad = None
    if cut_down:
        with model.excerpt(batch):
            model(batch).square().sum().backward()
    else:
        model(batch).square().sum().backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_the_gradient_is_the_whole_models(kind: str, classifier: Make, toy_data: MakeData) -> None:
    model = classifier(kind).double()
    part = toy_data([model]).parts["train"]
    for batch in (part.batch(range(4)), part.batch(range(40, 47)), part.batch(range(2))):
        dense, cut = gradients(model, batch, cut_down=False), gradients(model, batch, cut_down=True)
        assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-15) for a, b in zip(dense, cut, strict=True))


def test_within_the_matrix_is_as_small_as_the_batch_and_afterwards_whole_again(
    classifier: Make, toy_data: MakeData
) -> None:
    model = classifier("bert")
    matrix = model.model.get_input_embeddings()
    assert isinstance(matrix, excerpt.Embedding)
    whole = matrix.weight
    batch = toy_data([model]).parts["train"].batch(range(3))
    tokens = batch.inputs[model.encoder.key]["input_ids"].unique()  # type: ignore[no-untyped-call]
    expected = model.eval()(batch)
    with model.excerpt(batch):
        assert len(matrix.weight) <= len(tokens) + 1 < len(whole)
        assert torch.equal(model(batch), expected)
    with pytest.raises(RuntimeError), model.excerpt(batch):
        model(batch).backward()
    assert matrix.weight is whole
    assert torch.equal(model(batch), expected)


def test_a_gradient_that_somebody_else_changed_is_cleared_whole(classifier: Make, toy_data: MakeData) -> None:
    model = classifier("bert")
    matrix = model.model.get_input_embeddings()
    part = toy_data([model]).parts["train"]
    gradients(model, part.batch(range(8)), cut_down=True)
    assert matrix.gradient is not None
    matrix.gradient.tensor.add_(1.0)
    after = gradients(model, part.batch([50]), cut_down=True)
    dense = gradients(model, part.batch([50]), cut_down=False)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(after, dense, strict=True))


def test_several_backward_passes_within_add_up(classifier: Make, toy_data: MakeData) -> None:
    model = classifier("bert").double()
    batch = toy_data([model]).parts["train"].batch(range(6))
    matrix = model.model.get_input_embeddings()
    whole = gradients(model, batch, cut_down=True)
    for parameter in model.parameters():
        parameter.grad = None
    with model.excerpt(batch):
        for part in batch.split(4):
            model(part).square().sum().backward()
    assert matrix.weight.grad is not None
    again = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-14) for a, b in zip(whole, again, strict=True))


def test_gradients_that_are_never_needed_together_share_their_memory(classifier: Make, toy_data: MakeData) -> None:
    student, first, second = models = [classifier("bert", seed) for seed in range(3)]
    batches = [toy_data([student]).parts["train"].batch(range(start, start + 4)) for start in (0, 20, 40)]
    expected = [gradients(model, batch, cut_down=False) for model, batch in zip(models, batches, strict=True)]
    excerpt.share(models)
    seen = set()
    for _ in range(2):
        for model, batch, right in zip(models, batches, expected, strict=True):
            found = gradients(model, batch, cut_down=True)
            assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, right, strict=True))
            seen.add(model.model.get_input_embeddings().weight.grad.data_ptr())
            if model is not first:  # the teachers step together
                excerpt.drop_gradients(model)
            if model is second:
                excerpt.drop_gradients(first)
            assert (model.model.get_input_embeddings().weight.grad is None) == (model is not first)
    assert len(seen) == 2


def test_a_matrix_that_serves_twice_stays_as_it_is() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Embedding(5, 2), nn.Linear(2, 5)
            self.second.weight = self.first.weight

        def get_input_embeddings(self) -> nn.Module:
            return self.first

    model = Tied()
    excerpt.enable(model)
    assert type(model.first) is nn.Embedding
