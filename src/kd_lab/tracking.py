"""Where a run's metrics go: always the run folder's metrics.csv, and W&B where it is asked for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from kd_lab import terminal
from kd_lab.settings import Settings


@contextmanager
def loggers(settings: Settings, title: str, teachers: list[str], folder: Path) -> Iterator[list[Logger]]:
    """The loggers of one run; W&B's is closed whatever happens, or the next run would go on in it."""
    chosen: list[Logger] = [CSVLogger(str(folder), name="", version="")]
    if settings.logger.name == "csv":
        yield chosen
        return
    import wandb

    try:
        chosen.append(_wandb(settings, title, teachers, folder))
        yield chosen
    finally:
        wandb.finish()
    if offline := sorted((folder / "wandb").glob("offline-run-*")):
        terminal.say(f"W&B wrote offline; to sync: wandb sync {offline[-1]}")


def _wandb(settings: Settings, title: str, teachers: list[str], folder: Path) -> WandbLogger:
    import wandb

    offline = "WANDB_MODE" not in os.environ and not wandb.login(prompt=False, verify=False)
    run = wandb.init(
        name=title,
        project=os.environ.get("WANDB_PROJECT", settings.logger.project),
        dir=str(folder),
        group=os.environ.get("WANDB_RUN_GROUP", f"{settings.data.name}: {' + '.join(teachers)} → {settings.student}"),
        job_type=settings.method.name,
        tags=[*dict.fromkeys([settings.student, *teachers, settings.noise.name])],
        config=flat(
            settings.model_dump(mode="json", exclude={"models": True, "method": {"target"}}, exclude_unset=True)
        ),
        settings=wandb.Settings(silent=True, console="off"),
        mode="offline" if offline else None,
    )
    return WandbLogger(experiment=run)


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``: the form in which W&B groups and filters."""
    flattened: dict[str, Any] = {}
    for name, value in nested.items():
        flattened |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flattened
