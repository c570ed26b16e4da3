"""Each variant in fresh processes."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from kd_lab import interleaved, memory, sources
from kd_lab.bench.table import BenchRow
from kd_lab.bench.variants import Bench, Variant
from kd_lab.interleaved import Measured
from kd_lab.settings import Data
from kd_lab.sources import Rows
from kd_lab.splits import Splits

if TYPE_CHECKING:
    from kd_lab.bench.measurement import Measurement

PRELOADED = ["kd_lab.bench.measurement"]


def measure(bench: Bench, variants: Sequence[Variant], lines: Sequence[BenchRow]) -> None:
    """Measure every variant ``bench.repeats`` times, and add what was found to its line."""
    memory.keep_freed()
    steps = [
        Measured(variant.name, _in_a_fresh_process, (variant, bench, *_data(variant.settings.data)), line.add)
        for variant, line in zip(variants, lines, strict=True)
    ]
    interleaved.run(steps, bench.repeats, "kinds of steps", PRELOADED)


def _in_a_fresh_process(variant: Variant, bench: Bench, rows: Rows, cut: Splits) -> "Measurement":
    from kd_lab.bench.measurement import measure

    return measure(variant, bench, rows, cut)


@lru_cache(maxsize=8)
def _data(data: Data) -> tuple[Rows, Splits]:
    rows = sources.load(data)
    return rows, sources.cut(rows, data)
