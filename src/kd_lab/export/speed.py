"""The door: python -m kd_lab.export.speed RUN [RUN ...] [name=value ...]: size and speed of classifiers, beside
each other.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from kd_lab import doors, environment, finished, interleaved, memory, terminal
from kd_lab.export import making, speeds
from kd_lab.export.record import Export, ExportOptions
from kd_lab.export.speeds import SpeedRow
from kd_lab.finished import Finished
from kd_lab.interleaved import Measured
from kd_lab.sections import Count, Section, listed

USAGE = """How large and how fast finished classifiers are in torch, ONNX and ONNX of 8 bits, beside each other.

python -m kd_lab.export.speed RUN [RUN ...] [name=value ...]

RUN          as in kd_lab.export, which each goes through first; the first is what the others are compared with
threads=     1,2: numbers of threads
repeats=     3: fresh processes for each line of the table, taken in turns
sentences=   200: how many are timed, of the first RUN's test split or of data=
format= rows= difference= points= as in kd_lab.export

On the processor alone, in float32. The machine should do nothing else meanwhile."""
FOLDER = "speed"
BUSY = 0.3  # of the processors, by others
PRELOADED = ["kd_lab.export.stopwatch", "torch", "transformers", "onnxruntime"]


class Ways(Section):
    """How it is measured."""

    threads: Annotated[tuple[Count, ...], BeforeValidator(listed), Field(min_length=1)] = (1, 2)
    repeats: Count = 3
    sentences: Count = 200


@dataclass(frozen=True)
class Race:
    """Who is timed, and how.

    Attributes:
        ways, order: of the measurement and of the exports.
        runners: the classifiers, and ``names``, theirs as they were typed.
        asked: the words that are said to every export.
        words: all of them.
    """

    ways: Ways
    order: ExportOptions
    runners: list[Finished]
    names: list[str]
    asked: list[str]
    words: list[str]


def main() -> None:
    """Read the command line, export what is not yet, measure, print the table, keep and draw the figures."""
    doors.opened(USAGE, lambda words: run(read(words)), empty=False)


def read(words: Sequence[str]) -> Race:
    """The race that the words of a command line ask for.

    Raises:
        UserError: for a bad word, a folder without a classifier, or a package that is not there.
    """
    ways, all_but_ways = doors.own(Ways, words)
    order, rest = doors.own(ExportOptions, all_but_ways)
    several, given = doors.named(rest, "at least one run", 1, sys.maxsize)
    names, given = list(dict.fromkeys(several)), [*given, "precision=float32"]
    runners = [finished.find(name, given, writes=True) for name in names]
    making.refuse_missing(order.format)
    return Race(ways, order, runners, names, [word for word in all_but_ways if word not in names], list(words))


def run(race: Race) -> Path:
    """Measure; the path of the file with the figures."""
    memory.keep_freed()
    pairs = zip(race.runners, race.names, strict=True)
    exports = [making.make(one, race.order, [name, *race.asked]) for one, name in pairs]
    from kd_lab.export import checking

    texts, _, _ = checking.texts_of(race.runners[0], race.ways.sentences)
    lines, folders = _lines(race, exports)
    path = race.runners[0].settings.output_dir / FOLDER / f"{datetime.now():%Y-%m-%d_%H-%M-%S}.json"
    try:
        _measure(race.ways, lines, folders, texts)
    finally:  # what was measured before Ctrl-C or a failure is not lost
        if timed := [line for line in lines if line.timings]:
            _tell(race, timed, texts, path)
    return path


def _lines(race: Race, exports: Sequence[tuple[Path, Export]]) -> tuple[list[SpeedRow], list[Path]]:
    lines, folders = [], []
    for folder, export in exports:
        for weights in export.weights:
            if weights.refused:
                terminal.say(f"left out: {export.name}, {weights.format} {weights.refused}")
            elif weights.format in race.order.format:
                for threads in race.ways.threads:
                    lines.append(
                        SpeedRow(
                            model=_name(export, exports),
                            format=weights.format,
                            threads=threads,
                            bytes=weights.bytes,
                            parameters=export.parameters,
                            accuracy=weights.accuracy,
                        )
                    )
                    folders.append(folder)
    return lines, folders


def _name(export: Export, exports: Sequence[tuple[Path, Export]]) -> str:
    """Its name, told from others of the same name."""
    alike = [other for _, other in exports if other.name == export.name]
    return export.name if len(alike) == 1 else f"{export.name} {export.identity[:8]}"


def _measure(ways: Ways, lines: Sequence[SpeedRow], folders: Sequence[Path], texts: Sequence[str]) -> None:
    if (load := os.getloadavg()[0]) > BUSY * (os.cpu_count() or 1):
        terminal.say(f"warning: the machine is at work (load {load:.1f}): only ratios of what follows are worth much")
    these = [
        Measured(
            f"{line.model} {speeds.RUNTIMES[line.format]}",
            "kd_lab.export.stopwatch:measure",
            (folder, line.format, line.threads, texts),
            line.add,
        )
        for line, folder in zip(lines, folders, strict=True)
    ]
    interleaved.run(these, ways.repeats, "lines", PRELOADED)


def _tell(race: Race, lines: Sequence[SpeedRow], texts: Sequence[str], path: Path) -> None:
    words = sum(len(text.split()) for text in texts) / len(texts)
    versions = environment.versions() | making.versions(race.order.format)
    path.parent.mkdir(parents=True, exist_ok=True)
    speeds.SpeedFile(
        machine=environment.machine(),
        versions=versions,
        words=race.words,
        sentences=len(texts),
        mean_words=words,
        lines=list(lines),
    ).write(path)
    speeds.show(lines)
    speeds.draw(lines, path.with_suffix(".png"))
    terminal.say(f"{len(texts)} sentences of {words:.1f} words on average")
    terminal.say(f"the figures are in {path}, the picture beside it")


if __name__ == "__main__":
    main()
