"""Fresh processes, one at a time and in turns: what the machine does meanwhile meets all that is measured alike."""

import multiprocessing
import pkgutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from kd_lab import terminal


@dataclass(frozen=True)
class Measured:
    """What is measured in a process of its own.

    Attributes:
        name: how it is called.
        measure: ``module:function``, imported and called there with ``given``; that and what it returns cross between
            processes.
        keep: takes what was found, and says it in a few words.
    """

    name: str
    measure: str
    given: Sequence[Any]
    keep: Callable[[Any], str]


def run(these: Sequence[Measured], repeats: int, kind: str, preloaded: Sequence[str]) -> None:
    """Measure each of them ``repeats`` times, and say how long it will take yet.

    Args:
        these: in the order of their turns.
        repeats: how often.
        kind: what they are, in the plural.
        preloaded: modules imported once, in the process that the fresh ones are forked from.
    """
    forks = "forkserver" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"  # Metal does not
    way = "forkserver" if forks else "spawn"
    context = multiprocessing.get_context(way)
    context.set_forkserver_preload(list(preloaded))
    total, started = repeats * len(these), time.monotonic()
    terminal.say(f"{len(these)} {kind}, {repeats} times in turns: {total} processes")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        for done in range(1, total + 1):
            one = these[(done - 1) % len(these)]
            said = f"{done}/{total} {one.name}: {one.keep(pool.submit(_call, one.measure, one.given).result())}"
            left = (time.monotonic() - started) / done * (total - done)
            terminal.say(said + (f", about {terminal.duration(left)} left" if left else ""))


def _call(function: str, given: Sequence[Any]) -> Any:
    return pkgutil.resolve_name(function)(*given)
