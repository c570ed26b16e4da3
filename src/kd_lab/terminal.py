"""What a person sees: lines, and a table at the end."""

import sys

from rich import box
from rich.console import Console
from rich.table import Table

from kd_lab.results import ModelResult, Result, Snapshot

# In a pipe or a log file a table has the room it needs.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


def say(text: str) -> None:
    """One line for the person at the terminal."""
    console.print(text, markup=False)


def complain(text: str) -> None:
    """One line on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"kd_lab: {text}", markup=False)


def show(result: Result) -> None:
    """The result as a small table, its warnings, and where everything is."""
    table = Table(title=result.name, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("", "model"):
        table.add_column(column, no_wrap=True)
    for column in ("valid. %", "test %", "before %", "parameters", "smaller"):
        table.add_column(column, justify="right", no_wrap=True)
    for teacher in result.teachers:
        table.add_row("teacher", *_cells(teacher), f"{100 * teacher.accuracy_before:.2f}", f"{teacher.parameters:,}")
    if result.ensemble and len(result.teachers) > 1:
        table.add_row("teachers", f"mean of {len(result.teachers)}", *_cells(result.ensemble))
    smaller = f"{result.times_smaller:.1f}×" if result.times_smaller else ""
    table.add_row("student", *_cells(result.student), "", f"{result.student.parameters:,}", smaller)
    console.print(table)
    harder = [f"{scores.noise} {scores.p:g}: {100 * scores.accuracy:.2f}" for scores in result.under_noise]
    say(f"student's test % under noise: {', '.join(harder)}")
    for warning in result.warnings:
        say(f"warning: {warning}")
    updates = f", {result.teacher_updates} teacher updates" if result.teacher_updates else ""
    epochs = f"best after epoch {result.best_epoch} of {result.epochs}"
    say(f"{result.method}: {result.steps} steps{updates}, {epochs}, {result.seconds:.0f} s")
    say(f"everything is in {result.folder}")


def _cells(scores: ModelResult | Snapshot) -> list[str]:
    name = [scores.name] if isinstance(scores, ModelResult) else []
    return [*name, f"{100 * scores.validation.accuracy:.2f}", f"{100 * scores.test.accuracy:.2f}"]
