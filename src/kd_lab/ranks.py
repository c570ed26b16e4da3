"""Several processes that train one model together.

Every process holds the whole of every batch (token ids are small), works on its own rows of it, and adds up what the
others found: the assumed step's gradient, the quiz loss with its gradient, the hypergradient and the student's
gradient. So all take the very step that one process would take with the whole batch. In a single process nothing here
does anything.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, distributed

from kd_lab.encoding import Batch

PATIENCE = timedelta(days=1)  # in which the first process evaluates while the others wait


class UnwrappedDDP(DDPStrategy):
    """Lightning's strategy without torch's wrapper: methods add up their gradients themselves."""

    def __init__(self, **options: Any):
        super().__init__(timeout=PATIENCE, **options)

    def configure_ddp(self) -> None:
        """A meta-step is not one backward pass, which is what the wrapper expects."""


def count() -> int:
    """How many processes have met."""
    return distributed.get_world_size() if _met() else 1


def own(batch: Batch) -> tuple[Batch, float]:
    """The rows of this process of a batch that all processes hold, and the weight of what is found on them: 1.

    They are shared out evenly. Where there are fewer rows than processes it is a row that is another's, with weight 0.
    """
    if count() == 1:
        return batch, 1.0
    mine = batch.share(distributed.get_rank(), count())
    return (mine, 1.0) if mine is not None else (batch.split(1)[0], 0.0)


def add_up(tensors: Sequence[Tensor]) -> None:
    """Each tensor becomes its sum over all processes, in place, bit-equal in all of them."""
    if count() == 1:
        return
    # A dict, not a set: the order has to be the same in all processes.
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        alike = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.detach().flatten() for tensor in alike])
        distributed.all_reduce(flat)
        for tensor, total in zip(alike, torch.split(flat, [tensor.numel() for tensor in alike]), strict=True):
            tensor.detach().copy_(total.view_as(tensor))


def anywhere(facts: Sequence[bool], device: torch.device) -> list[bool]:
    """Whether each of them is so in any process."""
    if count() == 1:
        return list(facts)
    found = torch.tensor([float(fact) for fact in facts], device=device)
    distributed.all_reduce(found)
    return (found > 0).tolist()


def wait() -> None:
    """Until all have come as far."""
    if _met():
        distributed.barrier()


def part() -> None:
    """All have come to the end: none may go while another still listens to it."""
    if _met():
        distributed.barrier()
        distributed.destroy_process_group()


def _met() -> bool:
    return distributed.is_available() and distributed.is_initialized()
