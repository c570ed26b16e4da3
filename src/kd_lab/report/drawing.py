"""Pictures as SVG inside a page: its font, its colours for lines and text, nothing fetched from anywhere."""

import html
import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator
from matplotlib.transforms import ScaledTranslation, Transform

INK, FAINT = "#010203", "#010204"
"""Stand for the page's colours of text and of grid lines."""
WIDTH = 285.0  # points: 380 pixels of a page
LEGEND = 11.0  # points: a line of the legend of a picture that is a file of its own
CHARACTERS = 60  # of such a line
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)
"""Of Okabe and Ito, which the colour-blind can tell apart; without yellow, which white paper swallows."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 2)))
RULES: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "kd_lab",  # the same runs make the same page
    "text.parse_math": False,  # a $ in a name is a $
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.5,
    "grid.color": FAINT,
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


@dataclass(frozen=True)
class Style:
    """How one setting is drawn in all pictures; markers and dashes tell it in grey as well."""

    color: str
    marker: str
    linestyle: Any
    fill: Literal["full", "none"] = "full"


def style(number: int) -> Style:
    """Of the setting ``number`` of a table; 7 colours and 8 markers come together again after 56."""
    return Style(COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)], DASHES[number % len(DASHES)])


def canvas(height: float, panels: int = 1) -> tuple[Figure, Sequence[Axes]]:
    """A figure ``height`` points high, with its panels beside each other on one scale."""
    with matplotlib.rc_context(RULES):
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    return figure, list(axes)


def beside(axes: Axes, points: float) -> Transform:
    """Data coordinates, moved to the right: for marks that would lie on each other."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    return axes.transData + ScaledTranslation(points / 72, 0, figure.dpi_scale_trans)


def sizes_axis(axes: Axes, values: Sequence[int]) -> None:
    """Numbers of parameters along x, with few ticks that have room."""
    if max(values) > 4 * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_minor_locator(LogLocator(subs=()))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.margins(x=0.12, y=0.12)


def svg(figure: Figure, name: str) -> str:
    """``figure`` for a page; ``name`` makes its inner references differ from those of other pictures there."""
    return _named(_bare(figure), name)


def alone(picture: str, legend: Sequence[tuple[str, str]] = ()) -> str:
    """What :func:`svg` made for a page as a file of its own, in greys that light and dark pages bear alike.

    Args:
        picture: of a page.
        legend: swatches and labels, which stand below it.
    """
    left, top, width, height = map(float, _box(picture))
    parts, y = [_placed(picture, left, top, width, height)], top + height + LEGEND
    for mark, label in legend:
        parts.append(_placed(mark, left + 4, y - 0.7 * LEGEND, *map(float, _box(mark)[2:])))
        for line in textwrap.wrap(label, CHARACTERS):
            parts.append(f'<text x="{left + 38:g}" y="{y:g}">{html.escape(line)}</text>')
            y += LEGEND
    whole = y - LEGEND - top + (4 if legend else 0)
    style = (
        "svg { color: #6e7781; --grid: #8888884d; font-family: sans-serif } text { fill: currentColor; font-size: 8px }"
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{1.5 * width:g}pt" height="{1.5 * whole:g}pt" viewBox="{left:g} {top:g} {width:g} {whole:g}">'
        f"<style>{style}</style>{''.join(parts)}</svg>\n"
    )


def _box(picture: str) -> list[str]:
    found = re.search(r'<svg viewBox="([^"]*)"', picture)
    assert found is not None
    return found[1].split()


def _placed(picture: str, x: float, y: float, width: float, height: float) -> str:
    place = f'<svg x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return picture.replace("<svg", place, 1).rstrip()


def swatch(how: Style, name: str, *, line: bool) -> str:
    """What stands before a setting's name in a legend; ``name`` as in :func:`svg`."""
    return _named(_swatch(how, line), name)


@lru_cache
def _swatch(how: Style, line: bool) -> str:
    figure = Figure(figsize=(26 / 72, 9 / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 2)
    axes.set_ylim(-1, 1)
    axes.plot([0, 1, 2] if line else [1], [0, 0, 0] if line else [0], **drawn(how), markevery=[1] if line else [0])
    return _bare(figure)


def _bare(figure: Figure) -> str:
    """The SVG without its head, its own style, and the names that nothing refers to."""
    file = io.StringIO()
    without: Any = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context(RULES):
        figure.savefig(file, format="svg", transparent=True, metadata=without)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(
        r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL
    )
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    text = re.sub(r"<svg[^>]*>", f'<svg {box[0]} aria-hidden="true">', text, count=1)
    text = re.sub(r' id="(?![mp][0-9a-f]{10}")[^"]*"', "", text)  # all but markers and clips, which are referred to
    text = re.sub(r"font-family:[^;\"]*;?", "", text)
    return text.replace(INK, "currentColor").replace(FAINT, "var(--grid)")


def _named(text: str, name: str) -> str:
    return re.sub(r'(id="|#)(?=[mp][0-9a-f]{10}[")])', rf"\g<1>{name}-", text)


def drawn(how: Style) -> dict[str, Any]:
    """``how`` as arguments of matplotlib."""
    return {
        "color": how.color,
        "marker": how.marker,
        "linestyle": how.linestyle,
        "fillstyle": how.fill,
        "markersize": 4.5,
    }
