"""What a person sees: lines, and tables."""

from collections.abc import Sequence
from typing import IO, cast

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kd_lab import process, streams

# In a pipe or a log file a table has the room it needs.
console = Console(
    file=cast(IO[str], streams.out), highlight=False, soft_wrap=True, width=None if streams.out.isatty() else 120
)


def say(text: str) -> None:
    """One line for the person at the terminal; of several processes the first one speaks."""
    if process.rank() == 0:
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


def duration(seconds: float) -> str:
    """A time a person can read: ``40 s``, ``7 min`` or ``2 h 5 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
