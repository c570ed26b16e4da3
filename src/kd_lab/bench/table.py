"""What the bench found: lines of a table, the file that keeps them, and the comparison with an earlier one."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError
from rich.markup import escape

from kd_lab import environment, files, terminal
from kd_lab.errors import UserError

FOLDER = "bench"
COLUMNS = ("ms", "±%", "rows/s", "floor ms", "× floor", "data %", "MB", "GFLOP", "% of peak", "cosine", "before")


class BenchRow(BaseModel):
    """One variant's figures: one per process in each list; see :class:`kd_lab.bench.measurement.Measurement`."""

    row: str
    axes: list[str]
    rows_a_step: int
    seconds: list[float] = []
    waiting: list[float] = []
    passes: list[dict[str, float]] = []
    peak: list[int | None] = []
    operations: list[float] = []
    share: list[float] = []
    cosine: list[float | None] = []

    @property
    def name(self) -> str:
        """Row and axes in words."""
        return " ".join([self.row, *self.axes])

    def add(self, found: BaseModel) -> str:
        """One more process, in a few words."""
        for name, value in found:
            getattr(self, name).append(value)
        return f"{1000 * self.seconds[-1]:,.0f} ms a step"

    @property
    def milliseconds(self) -> float:
        """A step's, the median of the processes."""
        return 1000 * statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half of what lies between the fastest and the slowest process, as a share of the median."""
        return 500 * (max(self.seconds) - min(self.seconds)) / self.milliseconds

    @property
    def floor(self) -> float | None:
        """The sum of the passes in milliseconds, the median of the processes."""
        return 1000 * statistics.median(map(_total, self.passes)) if all(self.passes) else None

    @property
    def above(self) -> float | None:
        """The step over the sum of its passes, each process by itself."""
        if not all(self.passes):
            return None
        return statistics.median(s / _total(p) for s, p in zip(self.seconds, self.passes, strict=True))

    @property
    def parts(self) -> dict[str, float]:
        """Each pass in milliseconds, the median of the processes."""
        names = self.passes[0] if self.passes else {}
        return {name: 1000 * statistics.median(found[name] for found in self.passes) for name in names}


def _total(passes: dict[str, float]) -> float:
    return sum(passes.values())


class BenchFile(BaseModel):
    """A bench's file: on which machine, with what versions and words, and the lines."""

    machine: dict[str, str | int]
    versions: dict[str, str]
    words: list[str]
    lines: list[BenchRow]

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, self.model_dump_json(indent=2) + "\n")


def earlier(folder: Path, words: Sequence[str], against: Path | None) -> tuple[Path, BenchFile] | None:
    """The file to compare with: the one that is named, else the last in ``folder`` of the same words and machine.

    Raises:
        UserError: if the one that is named cannot be read.
    """
    for path in [against] if against else sorted(folder.glob("*.json"), reverse=True):
        try:
            file = BenchFile.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            if against:
                raise UserError(f"bench.against={against}: should be the file of an earlier bench") from error
            continue
        if against or (file.machine, _plain(file.words)) == (environment.machine(), _plain(words)):
            return path, file
    return None


def _plain(words: Sequence[str]) -> set[str]:
    return {word for word in words if not word.startswith(("bench.", "output_dir="))}


def show(lines: Sequence[BenchRow], before: BenchFile | None) -> None:
    """One row per variant; passes are what ``show_passes`` shows."""
    past = {line.name: line for line in before.lines if line.seconds} if before else {}
    table = terminal.ruled(["step"], COLUMNS)
    for line in lines:
        peaks = [peak for peak in line.peak if peak is not None]
        cosines = [value for value in line.cosine if value is not None]
        then = past.get(line.name)
        table.add_row(
            escape(line.name),
            f"{line.milliseconds:,.0f}",
            f"{100 * line.spread:.0f}",
            f"{1000 * line.rows_a_step / line.milliseconds:,.0f}",
            f"{line.floor:,.0f}" if line.floor else "",
            f"{line.above:.2f}" if line.above else "",
            f"{100 * statistics.median(w / s for w, s in zip(line.waiting, line.seconds, strict=True)):.1f}",
            f"{statistics.median(peaks) / 1e6:,.0f}" if peaks else "",
            f"{statistics.median(line.operations) / 1e9:,.0f}" if any(line.operations) else "",
            f"{100 * statistics.median(line.share):.0f}" if any(line.share) else "",
            f"{min(cosines):.5f}" if cosines else "",
            f"{line.milliseconds / then.milliseconds:.2f}×" if then else "",
        )
    terminal.console.print(table)


def show_passes(lines: Sequence[BenchRow]) -> None:
    """Where the time goes, in milliseconds."""
    for line in lines:
        parts = [f"{name} {ms:.1f}" for name, ms in line.parts.items() if ms >= 0.05]
        if parts and line.floor:
            terminal.say(f"{line.name}: {', '.join(parts)}; the rest {line.milliseconds - line.floor:.1f}")
