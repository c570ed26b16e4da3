"""The report as one HTML file that asks no host for anything."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kd_lab.report.pictures import Picture
from kd_lab.report.tables import WORDS, Table


def write(
    title: str,
    tables: Sequence[Sequence[Table]],
    pictures: Sequence[Sequence[Picture]],
    others: Sequence[tuple[Table, Sequence[Picture]]],
    lists: Sequence[tuple[str, Sequence[str]]],
) -> str:
    """The page; everything but the pictures' own SVG is escaped.

    Args:
        title: of the report.
        tables, pictures: of each group of settings.
        others: tables of no group, each with its pictures.
        lists: lines under their headings.
    """
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    groups = list(zip(tables, pictures, strict=True))
    return environment.get_template("page.html").render(
        title=title, groups=groups, others=others, lists=lists, words=WORDS
    )
