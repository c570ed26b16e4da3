"""Size and speed of exports: lines of a table, and the file that keeps them."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel
from rich.markup import escape

from kd_lab import files, terminal
from kd_lab.export.record import Format

RUNTIMES = {"folder": "torch", "onnx": "ONNX", "int8": "ONNX int8"}
COLUMNS = ("threads", "MB", "accuracy %", "p50 ms", "p95 ms", "times faster", "sentences/s", "tokenizing ms")


class Timing(BaseModel):
    """What one process measured.

    Attributes:
        median: milliseconds a sentence at batch 1, without its tokenizing.
        tail: the 95th percentile of these.
        rate: sentences a second at batch 32, in batches of like length, without their tokenizing.
        tokenizing: milliseconds a sentence, one at a time.
    """

    median: float
    tail: float
    rate: float
    tokenizing: float


class SpeedRow(BaseModel):
    """One model in one format under a number of threads; ``timings`` is one for each process."""

    model: str
    format: Format
    threads: int
    bytes: int
    parameters: int
    accuracy: float
    timings: list[Timing] = []

    def add(self, timing: Timing) -> str:
        """One more process, in a few words."""
        self.timings.append(timing)
        return f"{timing.median:.2f} ms a sentence"

    @property
    def timing(self) -> Timing:
        """The median of the processes."""
        return Timing(
            **{name: statistics.median(getattr(t, name) for t in self.timings) for name in Timing.model_fields}
        )


class SpeedFile(BaseModel):
    """The file: the machine, the libraries, how many sentences of how many words, and the lines."""

    machine: dict[str, str | int]
    versions: dict[str, str]
    words: list[str]
    sentences: int
    mean_words: float
    lines: list[SpeedRow]

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        files.write_whole(path, self.model_dump_json(indent=2) + "\n")


def faster(line: SpeedRow, lines: Sequence[SpeedRow]) -> float | None:
    """How many times as fast as the first model in ONNX of float32 under as many threads; None without that."""
    first = next(
        (one for one in lines if (one.model, one.format, one.threads) == (lines[0].model, "onnx", line.threads)), None
    )
    return first.timing.median / line.timing.median if first and first.timings else None


def show(lines: Sequence[SpeedRow]) -> None:
    """One row per line."""
    table = terminal.ruled(["model", "in"], COLUMNS)
    before = ""
    for line in lines:
        timing, times = line.timing, faster(line, lines)
        table.add_row(
            escape(line.model) if line.model != before else "",
            RUNTIMES[line.format],
            str(line.threads),
            f"{line.bytes / 1e6:.1f}",
            f"{100 * line.accuracy:.2f}",
            f"{timing.median:.2f}",
            f"{timing.tail:.2f}",
            f"{times:.2f}" if times else "",
            f"{timing.rate:,.0f}",
            f"{timing.tokenizing:.3f}",
        )
        before = line.model
    terminal.console.print(table)
    sizes = {line.model: line.parameters for line in lines}
    terminal.say("; ".join(f"{model}: {count:,} parameters" for model, count in sizes.items()))
    terminal.say(f"times faster: than {lines[0].model} in ONNX of float32, at p50 under as many threads")


def draw(lines: Sequence[SpeedRow], path: Path) -> None:
    """Milliseconds a sentence under the fewest threads, with the 95th percentile, beside the size on disk."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fewest = min(line.threads for line in lines)
    shown = [line for line in lines if line.threads == fewest]
    places = range(len(shown))
    with matplotlib.rc_context({"text.parse_math": False}):
        figure, (left, right) = pyplot.subplots(
            1, 2, sharey=True, figsize=(10, 1.6 + 0.42 * len(shown)), layout="constrained", width_ratios=(3, 2)
        )
        medians, tails = [x.timing.median for x in shown], [x.timing.tail for x in shown]
        left.barh(places, medians, color="#0072B2", label="p50")
        left.plot(tails, places, "|", color="#D55E00", markersize=12, markeredgewidth=2, label="p95")
        left.set_xlabel(f"milliseconds a sentence, {fewest} thread{'s' * (fewest > 1)}")
        left.set_yticks(places, [f"{files.shortened(x.model, 40)}  {RUNTIMES[x.format]}" for x in shown])
        left.invert_yaxis()
        left.legend(frameon=False, fontsize="small")
        right.barh(places, [x.bytes / 1e6 for x in shown], color="#009E73")
        right.set_xlabel("megabytes")
        for place, median, tail in zip(places, medians, tails, strict=True):
            left.text(max(median, tail), place, f"  {median:.2f}", va="center", fontsize="small")
        right.bar_label(right.containers[0], [f" {x.bytes / 1e6:.1f}" for x in shown], fontsize="small")
        for axes in (left, right):
            axes.margins(x=0.15)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, dpi=144)
        pyplot.close(figure)
