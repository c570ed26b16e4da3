"""What tells whether a teacher learns to teach: how it moves, and how often it is right and agrees with the student."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from kd_lab import ranks

ENTRIES = 2**14
"""Size of the sample of weights that displacement is measured on: Adam moves every weight about as far."""


class Movement:
    """How weights move, by a fixed random sample of the matrices' entries, and how their whole gradients turn.

    Args:
        parameters: before the first step.

    Attributes:
        start: the sampled weights as they were, [n].
        gradient: the latest one, a tensor per parameter, in half of its bytes; None before the first.
    """

    def __init__(self, parameters: Sequence[Tensor]):
        sizes, draw = [parameter.numel() for parameter in parameters], torch.Generator().manual_seed(0)
        # Two in three tensors are biases and scales: a thousandth of the entries, and most of the time.
        matrices = [i for i, parameter in enumerate(parameters) if parameter.dim() > 1]
        total = sum(sizes[i] for i in matrices)
        self.places = {i: _places(sizes[i], total, draw) for i in matrices}
        self.start = self._sample(parameters)
        self.gradient: list[Tensor] | None = None

    def turn(self, gradients: Sequence[Tensor]) -> Tensor | None:
        """The cosine between these gradients and the ones before; None at first."""
        before, self.gradient = self.gradient, [gradient.to(torch.bfloat16, copy=True) for gradient in gradients]
        if before is None:
            return None
        products = torch.stack([_products(*pair) for pair in zip(gradients, before, strict=True)]).sum(dim=0)
        # Root by root: the product of two squares of small gradients would be 0.
        lengths = products[1:].sqrt().clamp_min(torch.finfo(products.dtype).tiny ** 0.5).prod()
        return (products[0] / lengths).clamp(-1, 1)

    def displacement(self, parameters: Iterable[Tensor]) -> Tensor:
        """‖φ − φ_start‖ / ‖φ_start‖."""
        now = self._sample(parameters)
        start = self.start.to(now.device)
        moved: Tensor = (now - start).norm() / start.norm()
        return moved

    def state(self) -> dict[str, Any]:
        """What an interrupted run goes on with."""
        return {"start": self.start, "gradient": self.gradient}

    def go_on(self, state: dict[str, Any]) -> None:
        """From :meth:`state`."""
        self.start, self.gradient = state["start"], state["gradient"]

    def _sample(self, tensors: Iterable[Tensor]) -> Tensor:
        among = list(tensors)
        parts = [among[i].detach().flatten()[places.to(among[i].device)] for i, places in self.places.items()]
        return torch.cat(parts)


def _products(now: Tensor, then: Tensor) -> Tensor:
    """Dot products now·then, now·now and then·then, [3]; one tensor at a time is there in full precision."""
    now, then = now.flatten(), then.flatten().to(now)
    return torch.stack([now @ then, now @ now, then @ then])


def _places(entries: int, total: int, draw: torch.Generator) -> Tensor:
    if total <= ENTRIES:
        return torch.arange(entries)
    return torch.randint(entries, (max(1, round(ENTRIES * entries / total)),), generator=draw)


def agreement(student: Tensor, teachers: Tensor, labels: Tensor) -> Tensor:
    """Counts [3] of rows: where student and teachers agree, where the teachers are right, and all.

    Args:
        student: logits [B, C].
        teachers: logits [K, B, C]; their mean speaks for them.
        labels: [B].
    """
    said = teachers.mean(dim=0).argmax(dim=-1)
    rows = labels.new_full((), len(labels))  # made on the device: a copy would wait for it
    return torch.stack([(student.argmax(dim=-1) == said).sum(), (said == labels).sum(), rows])


def _stacked(steps: Sequence[Tensor]) -> Tensor:
    """On the device of the latest: those from before an interruption came back to the processor's memory."""
    return torch.stack([step.to(steps[-1].device) for step in steps])


class Ledger:
    """What the steps have found and is not yet logged.

    Attributes:
        latest: metrics by name, as last found: those of quiz and teachers are the latest meta-step's.
        losses: of each step of the epoch.
        agreements: counts of each step of the epoch, see :func:`agreement`.
    """

    def __init__(self) -> None:
        self.latest: dict[str, Tensor] = {}
        self.new_epoch()

    def new_epoch(self) -> None:
        """Nothing of the epoch before is in the new one's means."""
        self.losses: list[Tensor] = []
        self.agreements: list[Tensor] = []

    def of_epoch(self, prefix: str) -> dict[str, Tensor]:
        """The epoch's mean loss, under ``prefix``, and shares of its rows."""
        means = {f"{prefix}train/mean_loss": _stacked(self.losses).mean()}
        if self.agreements:
            counts = _stacked(self.agreements).sum(dim=0)
            ranks.add_up([counts])
            means |= {"train/agreement": counts[0] / counts[2], "teacher/train/accuracy": counts[1] / counts[2]}
        return means

    def state(self) -> dict[str, Any]:
        """What an interrupted run goes on with."""
        return dict(vars(self))

    def go_on(self, state: dict[str, Any]) -> None:
        """From :meth:`state`."""
        vars(self).update(state)
