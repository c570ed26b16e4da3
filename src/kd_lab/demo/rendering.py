"""Answers as HTML; whatever a user typed is escaped."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from kd_lab.demo.answering import Answer, Part

STRONG = 2.0
"""Log-odds from which on a mark is darkest, unless another word of the text moved the answer by more."""
LEVELS = 4
HEAVIEST = 3
COMMAND = "python -m kd_lab.report"
HERE = Path(__file__).parent


def answer(found: Answer) -> str:
    """The table of models, where they disagree, and the text with its words marked."""
    return _template("answer.html").render(
        found=found, named=named, heaviest=heaviest(found), level=lambda part: level(part, found)
    )


def report(folder: Path) -> str:
    """The report of the runs in ``folder``, shut in a frame of its own; else the command that makes it."""
    path = folder / "report" / "report.html"
    try:
        page = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        page = ""
    command = COMMAND if folder == Path("outputs") else f"{COMMAND} {folder}"
    return _template("report.html").render(page=page, path=path, command=command)


def style() -> str:
    """Of the page, in CSS."""
    return (HERE / "style.css").read_text(encoding="utf-8")


def named(label: str) -> str:
    """A label as a heading has it."""
    return label.capitalize() if label.islower() else label


def level(part: Part, found: Answer) -> str:
    """The class of a part: ``for-0`` to ``for-4`` where it speaks for the answer, ``against-…`` where against it."""
    if part.moved is None:
        return "for-0"
    most = max([STRONG, *(abs(other.moved) for other in found.parts if other.moved is not None)])
    return f"{'for' if part.moved >= 0 else 'against'}-{round(LEVELS * abs(part.moved) / most)}"


def heaviest(found: Answer) -> list[Part]:
    """The parts that moved the answer most, as far as they left a mark."""
    marked = [part for part in found.parts if not level(part, found).endswith("-0")]
    return sorted(marked, key=lambda part: -abs(part.moved or 0))[:HEAVIEST]


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
