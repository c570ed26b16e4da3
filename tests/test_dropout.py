from collections.abc import Callable

import pytest
import torch
from torch import nn

from kd_lab import dropout
from kd_lab.data import TextDataModule
from kd_lab.dropout import QUICK, QuickDropout
from kd_lab.models import Classifier


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_elements_are_dropped_as_often_as_asked_and_the_mean_stays(p: float) -> None:
    torch.manual_seed(0)
    out = QuickDropout(p)(torch.ones(1000, 1001))
    share = (out == 0).double().mean().item()
    assert share == pytest.approx(p, abs=4 * (p * (1 - p) / out.numel()) ** 0.5)
    assert out.double().mean().item() == pytest.approx(1, abs=4 * (p / (1 - p) / out.numel()) ** 0.5)
    assert out.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-3)


def test_neighbours_are_dropped_independently() -> None:
    """Four elements share one draw: none may tell of another."""
    torch.manual_seed(0)
    kept = (QuickDropout(0.5)(torch.ones(250_000, 4)) > 0).double()
    correlation = torch.corrcoef(kept.T) - torch.eye(4)
    assert correlation.abs().max() < 4 / 250_000**0.5


def test_the_mask_follows_torchs_seed_and_changes_from_call_to_call() -> None:
    dropout, x = QuickDropout(0.3), torch.randn(7, 5)
    torch.manual_seed(1)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(1)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


def test_gradients_pass_where_elements_stay() -> None:
    x = torch.ones(1000, dtype=torch.float64, requires_grad=True)
    out = QuickDropout(0.25)(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, out.detach())


def test_in_evaluation_nothing_is_dropped() -> None:
    x = torch.randn(10)
    assert QuickDropout(0.5).eval()(x) is x


def test_every_model_has_it(classifier: Callable[..., Classifier]) -> None:
    for kind in ("bert", "distilbert", "roberta"):
        assert {type(m) for m in classifier(kind, dropout=0.1).modules() if isinstance(m, nn.Dropout)} == {QuickDropout}
        assert classifier(kind).model.config._attn_implementation == QUICK


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_attention_written_out_is_torchs(
    kind: str,
    classifier: Callable[..., Classifier],
    toy_data: Callable[..., TextDataModule],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With nothing dropped, on rows of unlike length: the same logits and gradients, with and without padding."""
    model = classifier(kind, dropout=0.1).double()
    data = toy_data([model]).parts["train"]
    monkeypatch.setattr(dropout, "drop", lambda input, p: input)
    for positions in (range(8), [0]):
        batch = data.batch(list(positions))
        written_out = model.train()(batch)
        torchs = model.eval()(batch)
        assert torch.allclose(written_out, torchs, rtol=1e-12, atol=1e-14)
        first, second = (torch.autograd.grad(x.square().sum(), list(model.parameters())) for x in (written_out, torchs))
        assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-14) for a, b in zip(first, second, strict=True))


def test_attention_that_looks_back_only_is_left_to_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, float]] = []
    monkeypatch.setattr(dropout, "sdpa_attention_forward", lambda *args, **options: called.append(options))
    x = torch.zeros(1, 2, 3, 4)
    dropout.attention(nn.Module(), x, x, x, None, dropout=0.1, is_causal=True)
    dropout.attention(nn.Module(), x, x, x, None, dropout=0.0)
    assert [options["dropout"] for options in called] == [0.1, 0.0]
    out, weights = dropout.attention(nn.Module(), x, x, x, None, dropout=0.1)
    assert out.shape == (1, 3, 2, 4)
    assert weights is None
