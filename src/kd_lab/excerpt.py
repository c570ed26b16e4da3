"""The rows of an embedding matrix that a step uses, so that no pass drags the whole matrix along.

The embedding matrix is two thirds of a small model, and a batch touches a hundredth of its rows. Its gradient, the
assumed step's new matrix and the tangent's direction are dense in torch, each as large as the matrix.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding


class Dense:
    """A gradient as large as the matrix, zero but for the rows it was last filled with.

    Args:
        like: the matrix.
    """

    def __init__(self, like: Tensor):
        self.tensor = torch.zeros_like(like, requires_grad=False)
        self.rows, self.version = torch.empty(0, dtype=torch.long, device=like.device), self.tensor._version

    def fits(self, matrix: Tensor) -> bool:
        """Whether it can be the gradient of ``matrix``."""
        ours = self.tensor
        return (ours.shape, ours.dtype, ours.device) == (matrix.shape, matrix.dtype, matrix.device)

    def fill(self, rows: Tensor, gradient: Tensor) -> Tensor:
        """Itself with ``gradient`` in ``rows`` and zero elsewhere: only the rows filled before are cleared."""
        if self.tensor._version == self.version:
            self.tensor.index_fill_(0, self.rows, 0.0)
        else:  # somebody else has written into it
            self.tensor.zero_()
        self.tensor.index_copy_(0, rows, gradient)
        self.rows, self.version = rows, self.tensor._version
        return self.tensor


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
        self.gradient: Dense | None = None
        self.spare: list[Dense] = []

    def forward(self, input: Tensor) -> Tensor:
        """The rows of the token ids ``input`` of any shape."""
        if self.tokens is None:
            return super().forward(input)
        return embedding(torch.searchsorted(self.tokens, input.contiguous()), self.weight, self.padding)

    @contextmanager
    def only(self, ids: Sequence[Tensor]) -> Iterator[None]:
        """Within, ``weight`` is a leaf that holds the rows of ``ids`` alone; its gradient becomes the whole weight's.

        Token ids outside ``ids`` silently get the rows of others.
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
        """The gradient of the whole weight, in memory that served before."""
        tokens = self.tokens
        assert tokens is not None
        if self.gradient is None or not self.gradient.fits(whole):
            found = next((dense for dense in self.spare if dense.fits(whole)), None)
            if found is not None:
                self.spare.remove(found)
            self.gradient = found or Dense(whole)
        return self.gradient.fill(tokens, gradient)


def share(models: Iterable[nn.Module]) -> None:
    """Have the gradients of ``models`` in the same memory, where they are not needed at the same time."""
    spare: list[Dense] = []
    for module in (module for model in models for module in model.modules()):
        if isinstance(module, Embedding):
            module.spare = spare


def drop_gradients(model: nn.Module) -> None:
    """The optimizer has stepped: the gradients of ``model`` are gone, and their memory serves others."""
    for parameter in model.parameters():
        parameter.grad = None
    for module in model.modules():
        if isinstance(module, Embedding) and module.gradient is not None:
            module.spare.append(module.gradient)
            module.gradient = None


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
