"""What a step is measured by: memory, operations, the machine's matmul peak, the true hypergradient."""

import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, linear
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

from kd_lab import excerpt
from kd_lab.distiller import Distiller
from kd_lab.encoding import Batch
from kd_lab.hypergradient import unrolled
from kd_lab.methods.metadistil import MetaDistil
from kd_lab.tangent import full_precision

PEAK_SIZE, PEAK_TIMES = 2048, 5
BLOCK, BLOCKS = 4_000_000, 96  # numbers of 4 bytes, below the size that glibc maps apart
ROWS_FOR_COSINE = 8


class Memory:
    """The peak of a step's tensors above models and optimizers, in bytes: exact, whatever the allocator keeps."""

    def __init__(self) -> None:
        self.peak = 0
        self.held = 0
        self.watch: profile | None = None

    def start(self, method: Distiller) -> None:
        """Before a step; the gradients that the last one left count, wherever they are kept."""
        kept = [parameter.grad for parameter in method.parameters()]
        embeddings = [module for module in method.modules() if isinstance(module, excerpt.Embedding)]
        kept += [dense.tensor for module in embeddings for dense in (module.gradient, *module.spare) if dense]
        self.held = sum({id(g): g.numel() * g.element_size() for g in kept if g is not None}.values())
        if method.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(method.device)
            self.held -= torch.cuda.memory_allocated(method.device)
        else:
            self.watch, self.muted = profile(activities=[ProfilerActivity.CPU], profile_memory=True), ExitStack()
            self.muted.enter_context(_muted())
            self.watch.start()

    def stop(self, method: Distiller) -> None:
        """After the step."""
        if method.device.type == "cuda":
            highest = torch.cuda.max_memory_allocated(method.device)
        elif self.watch is not None:
            self.watch.stop()
            self.muted.close()
            events: list[Any] = self.watch.profiler.kineto_results.events()  # type: ignore[union-attr]
            changes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
            highest = max(accumulate(change for _, change in sorted(changes)))
            self.watch = None
        self.peak = max(self.peak, self.held + highest)


@contextmanager
def _muted() -> Iterator[None]:
    """Nothing on standard error: the profiler says there that it starts, stops, and meets blocks that are older."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def touch_memory() -> None:
    """Have the heap as a long run has it: the first steps wait for the system to hand out pages, later ones hardly."""
    if not torch.cuda.is_available():
        blocks = [torch.zeros(BLOCK) for _ in range(BLOCKS)]
        del blocks


def finish(device: torch.device) -> None:
    """Wait for what was asked of a GPU."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def matmul_peak(device: torch.device) -> float:
    """Operations a second of a large product of matrices, at the precision that is set: the best of some."""
    a, b = (torch.randn(PEAK_SIZE, PEAK_SIZE, device=device) for _ in range(2))
    best = math.inf
    with torch.no_grad():
        for _ in range(PEAK_TIMES):
            start = time.perf_counter()
            linear(a, b)
            finish(device)
            best = min(best, time.perf_counter() - start)
    return 2 * PEAK_SIZE**3 / best


def _attention(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **options: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(
    gradient: Any, query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **options: Any
) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]


FLOPS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""The attention kernels that torch's counter leaves out."""


def cosine(method: Distiller, batch: Batch) -> float | None:
    """Between the method's hypergradient and the unrolled one in float64, without dropout, on a few rows.

    The method computes that one afterwards. None for a method without a hypergradient, and on Apple's GPUs, which have
    no float64.
    """
    if not isinstance(method, MetaDistil) or method.device.type == "mps":
        return None
    for module in method.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    few, quiz = batch.split(ROWS_FOR_COSINE)[0], [part.split(ROWS_FOR_COSINE)[0] for part in method.quiz_of(0)]

    def gradient() -> Tensor:
        return torch.cat([part.double().flatten() for part in method.hypergradient(method.lesson(few, quiz)).gradients])

    method.label_loss = 0.0  # the same on both sides
    ours = gradient()
    method.double()
    method.hypergradient = unrolled
    with full_precision():
        return float(cosine_similarity(ours, gradient(), dim=0))
