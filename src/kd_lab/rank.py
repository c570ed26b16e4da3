"""The place of this process among several that carry out one run, as the environment tells; without torch."""

import os

COUNT = ("KD_LAB_PROCESSES", "WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
NUMBER = ("KD_LAB_PROCESS", "RANK", "SLURM_PROCID")
LOCAL = ("KD_LAB_PROCESS", "LOCAL_RANK", "SLURM_LOCALID")
"""What kd_lab itself, torchrun and Slurm's srun set. Lightning deletes WORLD_SIZE where it started no launcher."""


def among_others() -> bool:
    """Whether something has started several processes already."""
    return _first(COUNT, 1) > 1


def number() -> int:
    """From 0; the first process is the one that writes and speaks."""
    return _first(NUMBER, 0) if among_others() else 0


def local() -> int:
    """Among those on this machine, from 0."""
    return _first(LOCAL, 0) if among_others() else 0


def _first(names: tuple[str, ...], otherwise: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), otherwise)
