"""What a person sees: lines, and a table at the end."""

from collections import Counter
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, cast

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kd_lab import rank, streams
from kd_lab.results import ModelResult, Result, Snapshot, pair

if TYPE_CHECKING:
    from kd_lab.measures import Measures

# In a pipe or a log file a table has the room it needs.
console = Console(
    file=cast(IO[str], streams.out), highlight=False, soft_wrap=True, width=None if streams.out.isatty() else 120
)


def say(text: str) -> None:
    """One line for the person at the terminal; of several processes the first one speaks."""
    if rank.number() == 0:
        console.print(text, markup=False)


def complain(text: str) -> None:
    """One line on standard error."""
    # A name may hold line breaks.
    line = " ".join(text.split("\n"))
    Console(file=cast(IO[str], streams.err), highlight=False, soft_wrap=True).print(f"kd_lab: {line}", markup=False)


def ruled(words: Sequence[str], numbers: Sequence[str], title: str = "") -> Table:
    """An empty table: columns of words, then columns of numbers; where the room is short all take several lines."""
    table = Table(title=escape(title) or None, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in words:
        table.add_column(escape(column), overflow="fold")
    for column in numbers:
        table.add_column(escape(column), justify="right", overflow="fold")
    return table


def show(result: Result) -> None:
    """The result as a small table, its warnings, and where everything is."""
    table = ruled(["", "model"], ["valid. %", "test %", "before %", "parameters", "smaller"], result.name)
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


def show_sweep(rows: Sequence[tuple[str, Result]]) -> None:
    """The results of a sweep as one table, each after the words that tell its job from the others."""
    if not rows:
        say("no results")
        return
    count = f"{len(rows)} results" if len(rows) > 1 else "1 result"
    table = ruled(["job", "teachers → student"], ["valid. %", "test %", "teachers %", "seconds"], count)
    for words, result in rows:
        teachers = f"{100 * result.ensemble.test.accuracy:.2f}" if result.ensemble else ""
        models = pair([teacher.name for teacher in result.teachers], result.student.name)
        table.add_row(escape(words), escape(models), *_cells(result.student)[1:], teachers, f"{result.seconds:.0f}")
    console.print(table)
    warned = Counter(warning for _, result in rows for warning in result.warnings)
    for warning, jobs in warned.items():
        say(f"warning ({jobs} {'jobs' if jobs > 1 else 'job'}): {warning}")


def show_measures(title: str, found: "Measures", label_names: Sequence[str]) -> None:
    """Accuracy, F1, calibration, confusion and accuracy by length."""
    say(title)
    f1 = ", ".join(f"{name} {100 * value:.2f}" for name, value in found.f1.items())
    say(f"accuracy {found.accuracy:.2%} of {found.rows:,} rows, loss {found.loss:.4f}")
    say(f"F1 {100 * found.macro_f1:.2f} ({f1}), calibration error {100 * found.calibration_error:.2f} points")
    confusion = ruled(["label, then predicted"], label_names)
    for name, counts in zip(label_names, found.confusion, strict=True):
        confusion.add_row(escape(name), *(f"{count:,}" for count in counts))
    console.print(confusion)
    lengths = ruled(["words"], ["rows", "accuracy %"])
    for part in found.by_length:
        words = f"{part.shortest} to {part.longest}" if part.longest else f"over {part.shortest - 1}"
        lengths.add_row(words, f"{part.rows:,}", f"{100 * part.accuracy:.2f}")
    console.print(lengths)


def duration(seconds: float) -> str:
    """A time a person can read: ``40 s``, ``7 min`` or ``2 h 5 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _cells(scores: ModelResult | Snapshot) -> list[str]:
    name = [escape(scores.name)] if isinstance(scores, ModelResult) else []
    return [*name, f"{100 * scores.validation.accuracy:.2f}", f"{100 * scores.test.accuracy:.2f}"]
