"""Where an interrupted run goes on: everything that moves, as it was between two steps.

Batches, noise and dropout are functions of the seed and of where in the run they are needed, so that a checkpoint holds
no random state: only weights, optimizers, schedules, the place in the run, the curves and the best epoch so far.
A checkpoint is two files: ``NAME.ckpt`` (torch's, tensors and plain values only) and ``NAME.json`` with its SHA-256,
which is written last and makes it one.
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from kd_lab import process, ranks, terminal
from kd_lab.files import sha256_of
from kd_lab.stopping import Stopped, StopRequest
from kd_lab.tracking import Curves

KEPT = 2


class Files(CheckpointIO):
    """Files that are there whole or not at all, and hold nothing but tensors and plain values.

    Attributes:
        error: why the last one could not be written; it is not raised, since other processes would wait in vain.
    """

    error: Exception | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside ``path``, then rename."""
        scratch, self.error = Path(path).with_suffix(".partial"), None
        try:
            with scratch.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        except (OSError, RuntimeError) as error:  # torch's writer says RuntimeError where a disk is full
            self.error = error
            scratch.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """To the processor's memory, whatever device it was saved from."""
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """Remove the file."""
        Path(path).unlink(missing_ok=True)


class Place(NamedTuple):
    """Where a run can go on: the stage of it, and the file."""

    stage: str
    path: Path


def newest(folder: Path, run: Mapping[str, Any]) -> Place | None:
    """The newest sound checkpoint; a damaged one is named and deleted.

    Args:
        folder: of the checkpoints.
        run: plain values that a checkpoint must agree in to be this run's: fingerprint and versions.
    """
    for stem in sorted({path.with_suffix("") for path in folder.glob("*.*")}, reverse=True):
        path = stem.with_suffix(".ckpt")
        try:
            said = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
            sound = said["sha256"] == sha256_of(path) and said["stage"] == stem.name.rpartition("-")[0]
            if sound and said["run"] == run:
                return Place(said["stage"], path)
        except (OSError, ValueError, KeyError, TypeError):
            sound = False
        reason = "is of another version of kd_lab or its libraries" if sound else "is damaged"
        terminal.say(f"warning: checkpoint {path} {reason}: the one before it is used, if there is one")
        _remove(stem)
    return None


def _remove(stem: Path) -> None:
    if process.rank():
        return
    for suffix in (".json", ".ckpt", ".partial"):
        with suppress(OSError):
            stem.with_suffix(suffix).unlink(missing_ok=True)


class Checkpoints(Callback):
    """Saves every so many minutes, and when somebody wishes the run to end.

    Args:
        folder: of the checkpoints.
        stage: of the run; later ones have greater names.
        run: of :func:`newest`.
        minutes: between two; 0 saves before every step.
        request: to end the run.
        started: when the run started, of ``time.monotonic``; further back where it goes on.
    """

    def __init__(
        self, folder: Path, stage: str, run: Mapping[str, Any], minutes: float, request: StopRequest, started: float
    ):
        self.folder, self.stage, self.run, self.minutes, self.request = folder, stage, run, minutes, request
        self.last, self.started = time.monotonic(), started
        self.files, self.learned = Files(), 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """After Lightning has set signals for itself, and before the first batch is made."""
        self.request.listen()
        trainer.train_dataloader.sampler.start = self.learned  # type: ignore[union-attr]

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, index: int) -> None:
        """Between two steps of an epoch; before its first, Lightning could not find back into the loop."""
        facts = (bool(self.request), time.monotonic() - self.last >= 60 * self.minutes)
        asked, due = ranks.anywhere(facts, trainer.strategy.root_device)
        said = self._save(trainer) if index and (asked or due) else ""
        if asked and (index or trainer.num_training_batches == 1):
            ranks.wait()  # until the first has written all: whoever ends may end the others
            raise Stopped(f"interrupted: {said or 'nothing is saved'}; the same command goes on")

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """A request that came too late for a checkpoint."""
        if any(ranks.anywhere([bool(self.request)], trainer.strategy.root_device)):
            ranks.wait()
            raise Stopped("interrupted at the end of the training; the same command goes on from the last checkpoint")

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """The batch at hand has been begun in Lightning's books, but nothing has been learned from it."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for count in (progress["total"], progress["current"]):
            count.update(dict.fromkeys(count, count["completed"]))
        checkpoint["curves"] = [curves.rows for curves in _curves(trainer)]
        checkpoint["seconds"] = time.monotonic() - self.started

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """The curves go on, the seconds until then count, and no batch comes twice."""
        self.learned = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["completed"]
        terminal.say(f"going on from step {checkpoint['global_step']:,}")
        # Of several processes only the first keeps curves.
        for curves, rows in zip(_curves(trainer), checkpoint["curves"], strict=False):
            curves.go_on(rows)
        self.started -= checkpoint["seconds"]

    def _save(self, trainer: Trainer) -> str:
        """What there is to say of it; a checkpoint that cannot be written does not end the run."""
        stem = self.folder / f"{self.stage}-{trainer.global_step:09}"
        try:
            self.folder.mkdir(exist_ok=True)
            trainer.save_checkpoint(stem.with_suffix(".ckpt"))
            if self.files.error:
                raise self.files.error
            if process.rank():
                return ""
            about = {"sha256": sha256_of(stem.with_suffix(".ckpt")), "stage": self.stage, "run": self.run}
            scratch = stem.with_suffix(".partial")
            scratch.write_text(json.dumps(about), encoding="utf-8")
            scratch.replace(stem.with_suffix(".json"))
        except (OSError, RuntimeError) as error:
            terminal.say(f"warning: no checkpoint can be written to {self.folder} ({error})")
            _remove(stem)
            return ""
        finally:
            self.last = time.monotonic()
        for old in sorted(path.with_suffix("") for path in self.folder.glob("*.json"))[:-KEPT]:
            _remove(old)
        return f"step {trainer.global_step:,} of {int(trainer.estimated_stepping_batches):,} is saved"


def _curves(trainer: Trainer) -> list[Curves]:
    return [logger for logger in trainer.loggers if isinstance(logger, Curves)]


class Best(Callback):
    """The weights at the best epoch so far, in memory; of equally good epochs the earliest.

    Args:
        monitored: the metric, of which more is better.
    """

    def __init__(self, monitored: str):
        self.monitored = monitored
        self.accuracy, self.epoch = -1.0, -1
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Called by Lightning with the epoch's metrics known."""
        accuracy = trainer.callback_metrics[self.monitored].item()
        if accuracy > self.accuracy:
            self.accuracy, self.epoch = accuracy, trainer.current_epoch
            moves = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
            state = module.state_dict().items()
            self.weights = {name: value.detach().to("cpu", copy=True) for name, value in state if name in moves}

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"accuracy": self.accuracy, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.accuracy, self.epoch, self.weights = (state_dict[name] for name in ("accuracy", "epoch", "weights"))
