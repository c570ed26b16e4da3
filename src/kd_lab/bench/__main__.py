"""The door: python -m kd_lab.bench [name=value ...]: how long a training step takes, and what it is made of."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from kd_lab import doors, environment, files, interleaved, memory, sources, terminal
from kd_lab.bench import table
from kd_lab.bench.table import BenchRow
from kd_lab.bench.variants import ROWS, read
from kd_lab.interleaved import Measured

USAGE = f"""How long a training step takes: each kind of step in fresh processes, taken in turns.

python -m kd_lab.bench [name=value ...]

bench.quick=true   in under a minute; also --quick
bench.rows=...     some of {", ".join(ROWS)}
bench.padding=...  tokens of every batch; 0 for the longest of the batch
bench.repeats= bench.steps= bench.against=FILE
name=a,b           any setting of kd_lab.run; several values are measured beside each other

The floor of a step is the sum of its passes, each timed by itself in the same process."""
PRELOADED = ["kd_lab.bench.measurement"]
_data = lru_cache(maxsize=8)(sources.load_and_cut)


def main() -> None:
    """Read the command line, measure, print the table, keep the figures and draw them."""
    doors.opened(USAGE, lambda words: run([spelled(word) for word in words if not word.lower().startswith("debug=")]))


def spelled(word: str) -> str:
    """The setting that an option is short for."""
    return "bench.quick=true" if word == "--quick" else word


def run(words: Sequence[str]) -> Path:
    """Measure what ``words`` ask for; the path of the file with the figures."""
    bench, variants = read(words)
    folder = variants[0].settings.output_dir / table.FOLDER
    files.refuse_unwritable(folder)
    before = table.earlier(folder, words, bench.against)
    lines = [BenchRow(row=v.row, axes=list(v.axes), rows_a_step=v.settings.batch_size) for v in variants]
    path = folder / f"{datetime.now():%Y-%m-%d_%H-%M-%S}.json"
    try:
        memory.keep_freed()
        steps = [
            Measured(v.name, "kd_lab.bench.measurement:measure", (v, bench, *_data(v.settings.data)), line.add)
            for v, line in zip(variants, lines, strict=True)
        ]
        interleaved.run(steps, bench.repeats, "kinds of steps", PRELOADED)
    finally:  # what was measured before Ctrl-C or a failure is not lost
        measured = [line for line in lines if line.seconds]
        if measured:
            _tell(words, measured, path, before)
    return path


def _tell(
    words: Sequence[str], lines: Sequence[BenchRow], path: Path, before: tuple[Path, table.BenchFile] | None
) -> None:
    from kd_lab.bench import picture

    table.show(lines, before[1] if before else None)
    table.show_passes(lines)
    machine, versions = environment.machine(), environment.versions()
    file = table.BenchFile(machine=machine, versions=versions, words=list(words), lines=list(lines))
    file.write(path)
    picture.draw(lines, path.with_suffix(".png"))
    if before:
        terminal.say(f"before: {before[0]}")
    terminal.say(f"the figures are in {path}, the picture beside it")


if __name__ == "__main__":
    main()
