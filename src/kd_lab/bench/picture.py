"""Where the time goes, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from kd_lab.bench.table import Line


def draw(lines: Sequence[Line], path: Path) -> None:
    """One bar per variant, made of its passes and of what is beside them, in colours fit for the colour-blind."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [line for line in lines if line.parts]
    names = list(dict.fromkeys(name for line in shown for name in line.parts))
    colours = matplotlib.colormaps["cividis"]
    figure, axes = pyplot.subplots(figsize=(11, 1.6 + 0.55 * len(shown)), layout="constrained")
    left = [0.0] * len(shown)
    positions = range(len(shown))
    for number, name in enumerate([*names, "the rest"]):
        widths = [
            line.parts.get(name, 0.0) if name in names else max(0.0, line.milliseconds - (line.floor or 0.0))
            for line in shown
        ]
        colour = colours(number / max(1, len(names) - 1)) if name in names else "lightgrey"
        hatch = ("", "//", "..")[number % 3] if name in names else ""
        axes.barh(positions, widths, left=left, label=name, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(list(positions), [line.name for line in shown])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds a step")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=144)
    pyplot.close(figure)
