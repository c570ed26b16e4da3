"""What a picture on the page consists of."""

from collections.abc import Sequence
from dataclasses import dataclass

from kd_lab.report import drawing
from kd_lab.report.gathering import Setting

Numbered = tuple[int, Setting]
"""A setting and its place in the table, from 0."""


@dataclass(frozen=True)
class Picture:
    """An SVG, what it is called, what one sees in it and of how many seeds, and its legend: swatch and label."""

    title: str
    svg: str
    caption: str
    legend: Sequence[tuple[str, str]] = ()


def legend(settings: Sequence[Numbered], name: str, *, line: bool = True) -> list[tuple[str, str]]:
    """Of ``settings``, in the picture ``name``; with lines, or marks alone."""
    return [
        (drawing.swatch(drawing.style(number), f"{name}-{number}", line=line), f"{number + 1} {setting.label}")
        for number, setting in dict(settings).items()
    ]


def seeds(settings: Sequence[Setting]) -> str:
    """How many each of ``settings`` has."""
    return counts([len(setting.runs) for setting in settings])


def counts(found: Sequence[int]) -> str:
    """How many seeds, from the fewest to the most."""
    low, high = min(found), max(found)
    return f"n = {low} to {high} seeds each" if low < high else f"n = {low} seed{'s' * (low > 1)} each"
