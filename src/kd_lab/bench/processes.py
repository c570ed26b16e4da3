"""Each variant in fresh processes, in turns: what the machine does meanwhile meets all alike."""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

from kd_lab import memory, sources, splits, terminal
from kd_lab.bench.table import Line
from kd_lab.bench.variants import Bench, Variant
from kd_lab.settings import Data
from kd_lab.sources import Rows
from kd_lab.splits import Splits

if TYPE_CHECKING:
    from kd_lab.bench.measurement import Measurement

PRELOADED = ["kd_lab.bench.measurement"]
"""Imported once, in the process that the fresh ones are forked from."""


def measure(bench: Bench, variants: Sequence[Variant], lines: Sequence[Line]) -> None:
    """Measure every variant ``bench.repeats`` times, and add what was found to its line."""
    memory.keep_freed()
    way = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(way)
    context.set_forkserver_preload(PRELOADED)
    for variant in variants:  # before the clock runs
        _data(variant.settings.data)
    total, started = bench.repeats * len(variants), time.monotonic()
    terminal.say(f"{len(variants)} kinds of steps, {bench.repeats} times in turns: {total} processes")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        for done in range(total):
            variant, line = variants[done % len(variants)], lines[done % len(variants)]
            found: Measurement = pool.submit(
                _in_a_fresh_process, variant, bench, *_data(variant.settings.data)
            ).result()
            line.add(found.model_dump())
            left = (time.monotonic() - started) / (done + 1) * (total - done - 1)
            said = f"{done + 1}/{total} {variant.name}: {1000 * found.seconds:,.0f} ms a step"
            terminal.say(said + (f", about {terminal.duration(left)} left" if left else ""))


def _in_a_fresh_process(variant: Variant, bench: Bench, rows: Rows, cut: Splits) -> "Measurement":
    from kd_lab.bench.measurement import measure

    return measure(variant, bench, rows, cut)


@lru_cache(maxsize=8)
def _data(data: Data) -> tuple[Rows, Splits]:
    rows = sources.load(data)
    return rows, splits.cut(rows.texts, rows.labels, data.sizes, data.holdout, data.seed, rows.validation)
