"""lightning.Trainer as every part of a run uses it, on the machine that the settings name."""

from collections.abc import Sequence
from typing import Any

from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from kd_lab import precision, progress
from kd_lab.errors import UserError
from kd_lab.settings import Settings

QUIET: dict[str, Any] = {
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
}
"""What a part of a run does without unless it asks for it."""


def trainer(
    settings: Settings,
    title: str,
    *,
    epochs: int | None = None,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> Trainer:
    """A trainer that shows its progress under ``title``.

    Args:
        settings: ``trainer`` and ``precision`` of them.
        title: in a word or two.
        epochs: at most.
        callbacks: besides the progress.
        **options: of lightning.Trainer.

    Raises:
        UserError: if the machine has no such accelerator.
    """
    machine = settings.trainer
    shown, bars = progress.callbacks(title, machine.enable_progress_bar)
    try:
        return Trainer(
            accelerator=machine.accelerator,
            devices=machine.devices,
            log_every_n_steps=machine.log_every_n_steps,
            max_epochs=epochs,
            precision=precision.LIGHTNING[settings.precision],
            callbacks=[*callbacks, *shown],
            enable_progress_bar=bars,
            **QUIET | options,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise UserError(f"trainer.accelerator={machine.accelerator}: {str(error).splitlines()[0]}") from error
