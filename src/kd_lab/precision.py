"""The precisions of a run and what each switches."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from kd_lab import devices
from kd_lab.tangent import differentiable_attention

LIGHTNING: dict[str, Any] = {"float32": "32-true", "bf16-matmul": "32-true", "bf16-mixed": "bf16-mixed"}
"""What each is called by lightning.Trainer."""


@contextmanager
def of(name: str, accelerator: str = "auto") -> Iterator[None]:
    """Matmul precision and attention kernels for the precision ``name`` on ``accelerator``, put back afterwards.

    Under bfloat16 matmuls torch's fused attention for the CPU takes three times as long as plain matmuls, forward and
    backward together (torch 2.13, 34 tokens, heads of 32).
    """
    before = torch.get_float32_matmul_precision()
    reduced = name == "bf16-matmul"
    torch.set_float32_matmul_precision("medium" if reduced else "highest")
    slow = reduced and devices.kind(accelerator) != "cuda"
    try:
        with differentiable_attention() if slow else nullcontext():
            yield
    finally:
        torch.set_float32_matmul_precision(before)
