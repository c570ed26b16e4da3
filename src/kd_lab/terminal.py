"""What a person sees: lines, a table at the end, and no warning that says nothing to them."""

import logging
import sys
import warnings

from rich.console import Console
from rich.table import Table

from kd_lab.results import ModelResult, Result, Snapshot

# In a pipe or a log file a table has the room it needs.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)

SILENCED: list[tuple[str, str]] = [
    (r"The '.*dataloader' does not have many workers", "batches are ready-made tensors; a worker would only copy them"),
    (r"The `?srun`? command is available", "whoever is on a cluster and starts a single process means to"),
    (r"Checkpoint directory .* exists and is not empty", "the folder is the run's own"),
    (r"Found \d+ module\(s\) in eval mode", "teachers are in eval mode on purpose; Distiller keeps the student in train mode"),
    (r"Experiment logs directory .* exists", "the folder is the run's own"),
    (r"The number of training batches \(\d+\) is smaller than the logging interval", "the last step of an epoch is logged"),
    (r"`?isinstance\(treespec, LeafSpec\)`? is deprecated", "Lightning's own call; nothing a user can change"),
]
"""Library warnings that mean nothing to a user: a pattern and the reason for each."""

LOUD_LIBRARIES = ("lightning.pytorch", "lightning.fabric", "transformers", "datasets", "huggingface_hub", "wandb", "httpx")
"""Loggers whose remarks below an error are about themselves: devices found, tips, files fetched."""


def say(text: str) -> None:
    """One line for the person at the terminal."""
    console.print(text, markup=False)


def complain(text: str) -> None:
    """One line on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"kd_lab: {text}", markup=False)


def quiet_libraries() -> None:
    """Silence what is listed above, one by one, and the progress bars of weight files."""
    for pattern, _ in SILENCED:
        warnings.filterwarnings("ignore", message=pattern)
    for name in LOUD_LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)


def quiet_transformers() -> None:
    """Silence the reports of loading: what they warn of, models.load checks itself."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def show(result: Result) -> None:
    """The result as a small table, its warnings, and where everything is."""
    table = Table(title=result.name, title_justify="left")
    for column in ("", "model"):
        table.add_column(column, no_wrap=True)
    for column in ("validation %", "test %", "before %", "parameters", "times smaller"):
        table.add_column(column, justify="right", no_wrap=True)
    for teacher in result.teachers:
        table.add_row("teacher", *_cells(teacher), f"{100 * teacher.accuracy_before:.2f}", f"{teacher.parameters:,}")
    if result.ensemble and len(result.teachers) > 1:
        table.add_row("mean of teachers", *_cells(result.ensemble))
    smaller = f"{result.times_smaller:.1f}" if result.times_smaller else ""
    table.add_row("student", *_cells(result.student), "", f"{result.student.parameters:,}", smaller)
    console.print(table)
    for warning in result.warnings:
        say(f"warning: {warning}")
    updates = f", {result.teacher_updates} teacher updates" if result.teacher_updates else ""
    epochs = f"best after epoch {result.best_epoch} of {result.epochs}"
    say(f"{result.method}: {result.steps} steps{updates}, {epochs}, {result.seconds:.0f} s")
    say(f"everything is in {result.folder}")


def _cells(scores: ModelResult | Snapshot) -> list[str]:
    name = scores.name if isinstance(scores, ModelResult) else ""
    return [name, f"{100 * scores.validation.accuracy:.2f}", f"{100 * scores.test.accuracy:.2f}"]
