"""The place of this process among several that carry out one run, as the environment tells; without torch."""

import os

COUNT = ("KD_LAB_PROCESSES", "WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
RANK = ("KD_LAB_PROCESS", "RANK", "SLURM_PROCID")
LOCAL_RANK = ("KD_LAB_PROCESS", "LOCAL_RANK", "SLURM_LOCALID")
"""What kd_lab itself, torchrun and Slurm's srun set. Lightning deletes WORLD_SIZE where it started no launcher."""


def is_distributed() -> bool:
    """Whether something has started several processes already."""
    return _first(COUNT, 1) > 1


def rank() -> int:
    """From 0; the first process is the one that writes and speaks."""
    return _first(RANK, 0) if is_distributed() else 0


def local_rank() -> int:
    """Among those on this machine, from 0."""
    return _first(LOCAL_RANK, 0) if is_distributed() else 0


def _first(names: tuple[str, ...], otherwise: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), otherwise)
