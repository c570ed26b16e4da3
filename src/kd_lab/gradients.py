"""Gradients of a loss, one tensor per parameter, and their sum over the parts of a batch."""

import torch
from torch import Tensor

Gradients = tuple[Tensor, ...]


def gradients_of(
    output: Tensor,
    inputs: tuple[Tensor, ...],
    cotangent: Tensor | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> Gradients:
    """∂⟨``output``, ``cotangent``⟩/∂``inputs``; zero, not none, for an input that the output does not depend on.

    Args:
        output: a scalar, or of any shape with a ``cotangent`` of that shape.
        inputs: what to differentiate by.
        cotangent: a weight per element of the output; 1 of a scalar.
        create_graph: whether the gradients can be differentiated in turn.
        retain_graph: whether the output can be differentiated once more.
    """
    return torch.autograd.grad(
        output,
        inputs,
        cotangent,
        create_graph=create_graph,
        retain_graph=retain_graph or create_graph,
        materialize_grads=True,
    )


def added(total: Gradients, more: Gradients) -> Gradients:
    """Their sum, in the memory of ``total``, so that of however many parts one sum is kept; () where nothing is yet."""
    return tuple(a.add_(b) for a, b in zip(total, more, strict=True)) if total else more
