"""Where the time goes, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from kd_lab.bench.table import BenchRow
from kd_lab.bench.variants import ROWS

KINDS = {
    "student": ("#0072B2", ("student forward", "student backward", "student backward again", "distillation forward")),
    "teachers forward": ("#E69F00", ("teachers forward", "teachers forward with graph")),
    "teachers backward": ("#D55E00", ("teachers backward",)),
    "quiz": ("#009E73", ("quiz", "quiz forward")),
    "tangent, second order": (
        "#CC79A7",
        ("tangent", "student backward with graph", "second-order backward", "assumed step with graph"),
    ),
}
"""What passes serve, in the colours of Okabe and Ito, which the colour-blind can tell apart."""
WEIGHTS, REST = ("optimizers, clipping, copies", "#56B4E9"), ("the rest", "#BBBBBB")
ROOM = 1.18  # the axis over the longest bar, for its number


def draw(lines: Sequence[BenchRow], path: Path) -> None:
    """One bar per variant; one that is too long for the others to be seen is cut, and says so."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [line for line in lines if line.parts]
    if not shown:
        return
    usual = [line.milliseconds for line in shown if not ROWS[line.row].slow] or [line.milliseconds for line in shown]
    end = ROOM * max(usual)
    figure, axes = pyplot.subplots(figsize=(10, 1.8 + 0.45 * len(shown)), layout="constrained")
    bottom = [0.0] * len(shown)
    for name, colour, widths in _bars(shown):
        axes.barh(range(len(shown)), widths, left=bottom, label=name, color=colour, edgecolor="white", linewidth=0.5)
        bottom = [a + b for a, b in zip(bottom, widths, strict=True)]
    for place, line in enumerate(shown):
        cut = line.milliseconds > end
        said = f"{line.milliseconds:,.0f}"
        beside = max(line.milliseconds, line.floor or 0.0) + 0.005 * end
        where, side = (end * 0.99, "right") if cut else (beside, "left")
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5} if cut else None
        axes.text(where, place, f"{said} →" if cut else said, ha=side, va="center", fontsize="small", bbox=box)
    axes.set_xlim(0, end)
    axes.set_yticks(range(len(shown)), [line.name for line in shown])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds a step")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=144)
    pyplot.close(figure)


def _bars(shown: Sequence[BenchRow]) -> list[tuple[str, str, list[float]]]:
    """Name, colour and one width per line."""
    known = {part for _, parts in KINDS.values() for part in parts}
    bars = [
        (name, colour, [sum(line.parts.get(part, 0.0) for part in parts) for line in shown])
        for name, (colour, parts) in KINDS.items()
    ]
    bars.append((*WEIGHTS, [sum(ms for part, ms in line.parts.items() if part not in known) for line in shown]))
    bars.append((*REST, [max(0.0, line.milliseconds - (line.floor or 0.0)) for line in shown]))
    return bars
