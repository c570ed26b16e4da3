"""The warm-up and the fit of a run, from the beginning or from where they were interrupted."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import Logger

from kd_lab import checkpoints, environment, machine
from kd_lab.checkpoints import Best, Checkpoints
from kd_lab.data import TextDataModule
from kd_lab.distiller import Distiller
from kd_lab.settings import Settings
from kd_lab.stopping import StopRequest, between_steps

MONITORED = "validation/accuracy"
WARM_UP, FIT = "1-warm-up", "2-fit"  # in the order of time


class Fitting:
    """The stages of one run's training, their checkpoints and the place it goes on at.

    Args:
        settings: of the run.
        fingerprint: of the run.
        folder: that the checkpoints' folder lies in.

    Attributes:
        place: where it goes on; None for a run that begins.
        best: the best epoch of the fit.
        epochs, steps: of the fit, in the end.
        started: when it would have started if it had never been interrupted; of ``time.monotonic``, in seconds.
    """

    def __init__(self, settings: Settings, fingerprint: str, folder: Path):
        self.settings, self.folder = settings, folder / "checkpoints"
        self.run: dict[str, Any] = {"fingerprint": fingerprint, "versions": environment.versions()}
        self.started = time.monotonic()
        self.place = checkpoints.newest(self.folder, self.run)
        self.best, self.epochs, self.steps = Best(MONITORED), 0, 0

    def warm_up(self, method: Distiller, data: TextDataModule, loggers: Sequence[Logger]) -> None:
        """Epochs of plain fine-tuning, unless the run was interrupted after them."""
        if self.place is not None and self.place.stage != WARM_UP:
            return
        epochs = self.settings.warmup_epochs
        # Numbered −epochs … −1: the distillation's batches and noise stay what they are without a warm-up.
        data.first_epoch = -epochs
        self._run(WARM_UP, "warm-up", epochs, method, data, loggers)
        data.first_epoch = 0

    def fit(self, method: Distiller, data: TextDataModule, loggers: Sequence[Logger]) -> None:
        """All epochs, or fewer where patience ends."""
        callbacks: list[Callback] = [self.best]
        if self.settings.patience:
            callbacks.append(EarlyStopping(MONITORED, patience=self.settings.patience, mode="max"))
        epochs = self.settings.max_epochs
        self._run(FIT, self.settings.method.name, epochs, method, data, loggers, callbacks)

    def _run(
        self,
        stage: str,
        title: str,
        epochs: int,
        method: Distiller,
        data: TextDataModule,
        loggers: Sequence[Logger],
        callbacks: Sequence[Callback] = (),
    ) -> None:
        request = StopRequest()
        saver = Checkpoints(
            self.folder, stage, self.run, self.settings.trainer.checkpoint_minutes, request, self.started
        )
        trainer = machine.trainer(
            self.settings,
            title,
            epochs=epochs,
            together=True,
            logger=list(loggers),
            callbacks=[*callbacks, saver],
            plugins=[saver.files],
        )
        path = self.place.path if self.place is not None and self.place.stage == stage else None
        with between_steps(trainer, request):
            trainer.fit(method, datamodule=data, ckpt_path=path, weights_only=True)
        self.started, self.epochs, self.steps = saver.started, trainer.current_epoch, trainer.global_step
