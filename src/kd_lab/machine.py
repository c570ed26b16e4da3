"""lightning.Trainer as every part of a run uses it, on the machine that the settings name."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from kd_lab import devices, environment, precision, process, progress, ranks
from kd_lab.errors import UserError
from kd_lab.settings import Settings

QUIET: dict[str, Any] = {
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
}
"""Options of every fit and evaluation that asks for nothing else."""


def trainer(
    settings: Settings,
    title: str,
    *,
    epochs: int | None = None,
    together: bool = False,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> Trainer:
    """A trainer that shows its progress under ``title``.

    Args:
        settings: ``trainer`` and ``precision`` of them.
        title: in a word or two.
        epochs: at most.
        together: with the other processes of the run, where it has several.
        callbacks: besides the progress.
        **options: of lightning.Trainer.

    Raises:
        UserError: if the machine has no such accelerator.
    """
    machine, several = settings.trainer, together and process.is_distributed()
    shown, bars = progress.callbacks(title, machine.enable_progress_bar)
    try:
        return Trainer(
            accelerator=machine.accelerator,
            devices=machine.devices if several else devices.own(machine.accelerator),
            num_nodes=machine.num_nodes if several else 1,
            strategy=ranks.UnwrappedDDP() if several else "auto",
            log_every_n_steps=machine.log_every_n_steps,
            max_epochs=epochs,
            precision=precision.LIGHTNING[settings.precision],
            callbacks=[*callbacks, *shown],
            enable_progress_bar=bars,
            **QUIET | options,
        )
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"trainer.accelerator={machine.accelerator}: {str(error).splitlines()[0]}") from error


def processor(accelerator: str) -> str:
    """The GPU that ``accelerator`` takes here, or the CPU: its name, widest instructions and the number of threads."""
    kind = devices.kind(accelerator)
    if kind == "cuda":
        return str(torch.cuda.get_device_name())
    if kind == "mps":
        return f"{environment.processor()}, its GPU"
    threads, widest = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    return f"{environment.processor()}, {widest}, {threads} thread{'s' if threads > 1 else ''}"
