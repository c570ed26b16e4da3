"""The rows of an embedding matrix that a step uses, so that no pass drags the whole matrix along.

The embedding matrix is two thirds of a small model, and a batch touches a hundredth of its rows. Its gradient, the
assumed step's new matrix and the tangent's direction are dense in torch, each as large as the matrix.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding


class Embedding(nn.Embedding):
    """torch's embedding, which can be cut down to some tokens for the time of a step.

    Args:
        of: the embedding whose weight it takes over.
    """

    weight: nn.Parameter

    def __init__(self, of: nn.Embedding):
        # Made on no device: the weight is there already.
        super().__init__(of.num_embeddings, of.embedding_dim, padding_idx=of.padding_idx, device="meta")
        assert isinstance(of.weight, nn.Parameter)
        self.weight = of.weight
        self.tokens: Tensor | None = None
        self.padding: int | None = None
        self.gradient: Tensor | None = None
        self.filled, self.version = torch.empty(0, dtype=torch.long), -1

    def forward(self, input: Tensor) -> Tensor:
        """The rows of the token ids ``input`` of any shape."""
        if self.tokens is None:
            return super().forward(input)
        return embedding(torch.searchsorted(self.tokens, input.contiguous()), self.weight, self.padding)

    @contextmanager
    def only(self, ids: Sequence[Tensor]) -> Iterator[None]:
        """Within, ``weight`` is a leaf that holds the rows of ``ids`` alone; its gradient becomes the whole weight's.

        Token ids outside ``ids`` are met with wrong rows.
        """
        whole, some = self.weight, [part.flatten() for part in ids]
        if self.padding_idx is not None:
            some.append(torch.full_like(some[0][:1], self.padding_idx))
        self.tokens = torch.unique(torch.cat(some))
        if self.padding_idx is not None:
            self.padding = int(torch.searchsorted(self.tokens, self.padding_idx))
        rows = self.weight = nn.Parameter(whole.detach()[self.tokens], requires_grad=whole.requires_grad)
        try:
            yield
            if rows.grad is not None:
                whole.grad = self._spread(rows.grad, whole)
        finally:
            self.weight, self.tokens = whole, None

    def _spread(self, gradient: Tensor, whole: Tensor) -> Tensor:
        """The gradient of the whole weight, in the memory of the last one: only the rows that it filled are cleared."""
        tokens = self.tokens
        assert tokens is not None
        if self.gradient is None or self.gradient.device != whole.device or self.gradient.dtype != whole.dtype:
            self.gradient = torch.zeros_like(whole, requires_grad=False)
        elif self.gradient._version == self.version:
            self.gradient.index_fill_(0, self.filled, 0.0)
        else:  # somebody else has written into it
            self.gradient.zero_()
        self.gradient.index_copy_(0, tokens, gradient)
        self.filled, self.version = tokens, self.gradient._version
        return self.gradient


def enable(model: Any) -> None:
    """Make the input embedding of ``model``, of transformers, one that can be cut down; in place.

    One whose weight serves elsewhere too, or that changes its weight itself, stays as it is.
    """
    present = model.get_input_embeddings()
    if type(present) is not nn.Embedding or present.max_norm or present.scale_grad_by_freq or present.sparse:
        return
    holders = [module for module in model.modules() if any(p is present.weight for p in module._parameters.values())]
    if len(holders) == 1:
        model.set_input_embeddings(Embedding(present))
