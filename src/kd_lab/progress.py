"""Progress of a fit: a bar with accuracies on a terminal, a line per epoch everywhere."""

import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, TQDMProgressBar

from kd_lab import streams, terminal

SHOWN = {
    "train/loss": "loss",
    "train/mean_loss": "mean loss",
    "validation/accuracy": "accuracy",
    "teacher/validation/accuracy": "teachers",
}
"""Metrics that are shown, and under which name: the student's are the ones without a subject."""


def shown(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics that are shown, by short name, those of a warm-up included."""
    plain = {name.removeprefix("warmup/"): value for name, value in metrics.items()}
    return {short: plain[name] for name, short in SHOWN.items() if name in plain}


class Bar(TQDMProgressBar):
    """Lightning's bar with metrics short enough for a terminal of 80 columns."""

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """An epoch that goes on where it was interrupted does not start, but has a bar."""
        super().on_train_start(trainer, module)
        self.on_train_epoch_start(trainer)

    def on_train_epoch_start(self, trainer: Trainer, *others: Any) -> None:
        """Epochs are counted from 1, as in the line that each leaves."""
        super().on_train_epoch_start(trainer, *others)
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def get_metrics(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        """What stands at the end of the bar."""
        return shown(dict(super().get_metrics(trainer, module)))


class EpochLines(Callback):
    """Prints one line after each epoch: loss, accuracies and seconds.

    Args:
        title: what is trained in a word or two.
    """

    def __init__(self, title: str):
        self.title, self.start = title, time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Called by Lightning after an epoch's validation."""
        metrics = [
            f"{name} {value.item():.4f}" for name, value in shown(trainer.callback_metrics).items() if name != "loss"
        ]
        epoch = f"{self.title}: epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        line = ", ".join([epoch, *metrics, f"{time.monotonic() - self.start:.0f} s"])
        bar = trainer.progress_bar_callback
        if isinstance(bar, TQDMProgressBar):
            bar.print(line)
        else:
            terminal.say(line)


def callbacks(title: str, bars: bool) -> tuple[list[Callback], bool]:
    """The callbacks that show progress, and whether there is a bar: never in a pipe or a log file."""
    bars = bars and streams.out.isatty()
    return [EpochLines(title), *([Bar()] if bars else [])], bars
