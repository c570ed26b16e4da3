"""Progress of a fit: a bar with accuracies on a terminal, a line per epoch everywhere."""

import sys
import time

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, TQDMProgressBar

from kd_lab import terminal


class EpochLines(Callback):
    """Prints one line after each epoch: loss, accuracies and seconds.

    Args:
        title: what is trained in a word or two.
    """

    def __init__(self, title: str):
        self.title, self.start = title, time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Called by Lightning after an epoch's validation."""
        metrics = {
            name.split("/", 1)[1] if name.startswith("warmup/") else name: value
            for name, value in trainer.callback_metrics.items()
        }
        parts = [f"{self.title}: epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"]
        for name, label in [
            ("train/loss", "training loss"),
            ("validation/accuracy", "validation accuracy"),
            ("teacher/validation/accuracy", "teachers'"),
        ]:
            if name in metrics:
                parts.append(f"{label} {metrics[name].item():.4f}")
        line = f"{', '.join(parts)}, {time.monotonic() - self.start:.0f} s"
        bar = trainer.progress_bar_callback
        if isinstance(bar, TQDMProgressBar):
            bar.print(line)
        else:
            terminal.say(line)


def callbacks(title: str, bars: bool) -> tuple[list[Callback], bool]:
    """The callbacks that show progress, and whether there is a bar: never in a pipe or a log file."""
    bars = bars and sys.stdout.isatty()
    return [EpochLines(title), *([TQDMProgressBar(refresh_rate=5)] if bars else [])], bars
