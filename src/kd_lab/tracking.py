"""Where a run's metrics go: always the run folder's metrics.csv, and W&B where it is asked for."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from torch import Tensor

from kd_lab import terminal
from kd_lab.naming import pair
from kd_lab.results import Result
from kd_lab.sections import flat
from kd_lab.settings import Settings

LONGEST, LONGEST_TAG = 128, 64  # characters that W&B takes for a group and for a tag
SECONDS_TO_CONNECT = 20
STEP = "trainer/global_step"
RUN_ID = "wandb_run_id.txt"
SETTING = "setting"
NOT_CONFIG: Any = {"models": True, "method": {"target"}, "search": True}
OF_ONE_RUN = (
    "RUN_ID",
    "NAME",
    "NOTES",
    "RESUME",
    "RESUME_FROM",
    "FORK_FROM",
    "RUN_DIR",
    "SWEEP_ID",
    "SWEEP_PARAM_PATH",
)
"""W&B's variables that are meant for a single run: neither its teachers nor the jobs of a sweep may take them."""


class Curves(CSVLogger):
    """The run folder's metrics.csv, which an interrupted run goes on with.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path):
        super().__init__(str(folder), name="", version="")
        self.rows: list[dict[str, float]] = []

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One row of the table."""
        plain = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        super().log_metrics(plain, step)
        self.rows.append({**plain, "step": step or 0})

    def go_on(self, rows: list[dict[str, float]]) -> None:
        """After ``rows``, and nothing that was written since."""
        self.rows = list(rows)
        self.experiment.metrics = list(rows)


@contextmanager
def loggers(
    settings: Settings, title: str, student: str, teachers: list[str], folder: Path, *, one_of_many: bool = False
) -> Iterator[list[Logger]]:
    """The loggers of one run; W&B's is closed whatever happens, or the next run would go on in it.

    Args:
        settings: of the run.
        title, student, teachers: names a person can read.
        folder: of the run.
        one_of_many: whether it is somebody's teacher or a job of a sweep.
    """
    chosen: list[Logger] = [Curves(folder)]
    if settings.logger.name == "csv":
        yield chosen
        return
    import wandb

    with _environment(one_of_many):
        try:
            chosen.append(_wandb(settings, title, student, teachers, folder))
            yield chosen
        except BaseException:
            wandb.finish(exit_code=1)
            raise
        wandb.finish()


def show(chosen: Sequence[Logger], result: Result, wrong: Sequence[Mapping[str, Any]]) -> None:
    """Give W&B the result, as summary and as a table, and the table of wrong predictions."""
    for logger in chosen:
        if isinstance(logger, WandbLogger):
            import wandb

            run = logger.experiment
            run.summary.update(_summary(result))
            table = [_row("student", result.student), *(_row("teacher", teacher) for teacher in result.teachers)]
            tables = {name: rows for name, rows in (("result", table), ("wrong predictions", wrong)) if rows}
            run.log({name: wandb.Table([*rows[0]], [[*row.values()] for row in rows]) for name, rows in tables.items()})


def say_how_to_sync(chosen: Sequence[Logger], folder: Path) -> None:
    """One line, where W&B wrote offline."""
    for logger in chosen:
        if isinstance(logger, WandbLogger):
            where = Path(os.environ.get("WANDB_DIR", folder)) / "wandb"
            for offline in where.glob(f"offline-run-*-{logger.version}"):
                terminal.say(f"W&B wrote offline; to sync: wandb sync {offline}")


@contextmanager
def _environment(one_of_many: bool) -> Iterator[None]:
    """Variables for a single run are out of sight of a run that is one of many."""
    import wandb

    names = [f"WANDB_{name}" for name in OF_ONE_RUN]
    hidden = {name: os.environ.pop(name) for name in names if one_of_many and name in os.environ}
    # A session of W&B reads them once, when it begins.
    if hidden:
        wandb.teardown()
    try:
        yield
    finally:
        os.environ.update(hidden)
        if hidden:
            wandb.teardown()


def _wandb(settings: Settings, title: str, student: str, teachers: list[str], folder: Path) -> WandbLogger:
    import wandb

    given, kept = os.environ, folder / RUN_ID
    mine = [student, *teachers, settings.noise.name, *given.get("WANDB_TAGS", "").split(",")]
    words: dict[str, Any] = {
        "name": given.get("WANDB_NAME", title),
        # An agent's sweep has a project already.
        "project": given.get("WANDB_PROJECT", settings.logger.project) if "WANDB_SWEEP_ID" not in given else None,
        # Absolute: W&B's service may be another process's, which runs in another folder.
        "dir": given.get("WANDB_DIR", str(folder.absolute())),
        "group": given.get("WANDB_RUN_GROUP", f"{settings.data.name}: {pair(teachers, student)}")[:LONGEST],
        "job_type": given.get("WANDB_JOB_TYPE", settings.method.name),
        "tags": [*dict.fromkeys(word[:LONGEST_TAG] for word in mine if word)],
        # What a title says but the seed: the runs to take together.
        "config": {
            **flat(settings.model_dump(mode="json", exclude=NOT_CONFIG, exclude_unset=True)),
            SETTING: title.rpartition(", seed ")[0],
        },
        "settings": wandb.Settings(silent=True, console="off", init_timeout=SECONDS_TO_CONNECT),
    }
    if "WANDB_RUN_ID" not in given and kept.is_file():
        words |= {"id": kept.read_text(encoding="utf-8"), "resume": "allow"}
    chosen = given.get("WANDB_MODE") or (None if wandb.login(prompt=False, verify=False) else "offline")
    try:
        run = wandb.init(mode=chosen, **words)  # type: ignore[arg-type]
    except wandb.errors.Error as error:
        reason = " ".join(str(error).split())[:200]
        terminal.say(f"W&B cannot be reached ({reason}): writing offline")
        run = wandb.init(mode="offline", **words)
    kept.write_text(run.id, encoding="utf-8")
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP, step_sync=True)
    run.define_metric("validation/accuracy", step_metric=STEP, step_sync=True, summary="max")
    return WandbLogger(experiment=run)


def _summary(result: Result) -> dict[str, Any]:
    teachers = {"teacher/test/accuracy": result.ensemble.test.accuracy} if result.ensemble else {}
    harder = {f"test/accuracy/{s.noise} {s.p:g}": s.accuracy for s in result.under_noise}
    return {
        "validation/accuracy": result.student.validation.accuracy,
        "test/accuracy": result.student.test.accuracy,
        "student/parameters": result.student.parameters,
        "best_epoch": result.best_epoch,
        "fingerprint": result.fingerprint,
        "warnings": result.warnings,
        **teachers,
        **harder,
    }


def _row(role: str, model: Any) -> dict[str, Any]:
    return {
        "role": role,
        "model": model.name,
        "validation accuracy": model.validation.accuracy,
        "test accuracy": model.test.accuracy,
        "test accuracy before": getattr(model, "accuracy_before", None),
        "parameters": model.parameters,
    }
