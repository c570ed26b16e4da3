"""Where a run's metrics go: always the run folder's metrics.csv, and W&B where it is asked for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from kd_lab import terminal
from kd_lab.settings import Settings

LONGEST, LONGEST_TAG = 128, 64  # characters that W&B takes for a group and for a tag
SECONDS_TO_CONNECT = 20
NOT_CONFIG: Any = {"models": True, "method": {"target"}}


@contextmanager
def loggers(settings: Settings, title: str, student: str, teachers: list[str], folder: Path) -> Iterator[list[Logger]]:
    """The loggers of one run; W&B's is closed whatever happens, or the next run would go on in it."""
    chosen: list[Logger] = [CSVLogger(str(folder), name="", version="")]
    if settings.logger.name == "csv":
        yield chosen
        return
    import wandb

    try:
        chosen.append(_wandb(settings, title, student, teachers, folder))
        yield chosen
    except BaseException:
        wandb.finish(exit_code=1)
        raise
    wandb.finish()


def say_how_to_sync(folder: Path) -> None:
    """One line, where W&B wrote offline."""
    for offline in sorted((folder / "wandb").glob("offline-run-*")):
        terminal.say(f"W&B wrote offline; to sync: wandb sync {offline}")


def _wandb(settings: Settings, title: str, student: str, teachers: list[str], folder: Path) -> WandbLogger:
    import wandb

    words: dict[str, Any] = {
        "name": title,
        "project": os.environ.get("WANDB_PROJECT", settings.logger.project),
        "dir": str(folder),
        "group": os.environ.get("WANDB_RUN_GROUP", f"{settings.data.name}: {' + '.join(teachers)} → {student}")[
            :LONGEST
        ],
        "job_type": settings.method.name,
        "tags": [*dict.fromkeys(word[:LONGEST_TAG] for word in (student, *teachers, settings.noise.name))],
        "config": flat(settings.model_dump(mode="json", exclude=NOT_CONFIG, exclude_unset=True)),
        "settings": wandb.Settings(silent=True, console="off", init_timeout=SECONDS_TO_CONNECT),
    }
    chosen = os.environ.get("WANDB_MODE") or (None if wandb.login(prompt=False, verify=False) else "offline")
    try:
        return WandbLogger(experiment=wandb.init(mode=chosen, **words))  # type: ignore[arg-type]
    except wandb.errors.Error as error:
        reason = " ".join(str(error).split())[:200]
        terminal.say(f"W&B cannot be reached ({reason}): writing offline")
        return WandbLogger(experiment=wandb.init(mode="offline", **words))


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``: the form in which W&B groups and filters."""
    flattened: dict[str, Any] = {}
    for name, value in nested.items():
        flattened |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flattened
