"""Which device a process works on: the processor, or of several GPUs one that no other process of ours has."""

import os
from functools import cache
from typing import Any, Literal

import torch

from kd_lab import downloads, process

_held: list[Any] = []  # a lock that nobody holds on to is released


def kind(accelerator: str) -> Literal["cpu", "cuda", "mps"]:
    """What ``trainer.accelerator`` comes to on this machine."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return "cuda"
    return "mps" if accelerator != "cpu" and torch.backends.mps.is_available() else "cpu"


def own(accelerator: str) -> int | list[int]:
    """The devices of lightning.Trainer for a process that works by itself: one.

    Processes that carry out one run together have a GPU each, by their place; those that work alone, on several runs at
    a time, take one that no other of those has, while there are enough.
    """
    if kind(accelerator) != "cuda":
        return 1
    return [process.local_rank() if process.is_distributed() else _free_gpu()]


@cache
def _free_gpu() -> int:
    """Its number among those that CUDA shows; one that others have as well where none is free. Ours until we end."""
    from filelock import FileLock, Timeout

    count = torch.cuda.device_count()
    if count == 1:
        return 0
    folder = downloads.cache_folder() / "gpus"
    for number in range(count):
        # Its own name: CUDA_VISIBLE_DEVICES numbers them otherwise for every process.
        lock = FileLock(folder / f"{torch.cuda.get_device_properties(number).uuid}.lock")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except (Timeout, OSError, NotImplementedError):  # another has it; or nothing can be locked there
            continue
        _held.append(lock)
        return number
    return os.getpid() % count
