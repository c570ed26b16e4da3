"""One finished run, read from its own files."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from kd_lab import fingerprint, results
from kd_lab.naming import SEED_AND_HASH, plain, without_seed
from kd_lab.report import answers
from kd_lab.report.answers import Answers
from kd_lab.results import Result
from kd_lab.sections import flat

NEWER = {"teacher_train_on_quiz": False}
"""Settings that older runs do not name, with what those did."""


@dataclass(frozen=True)
class Run:
    """A finished run: what it found, and the settings that decided it, by their dotted names."""

    result: Result
    decides: Mapping[str, Any]

    @property
    def student(self) -> str:
        """Its name, without the seed of a run that it continues."""
        return plain(self.result.student.name)

    @property
    def teachers(self) -> tuple[str, ...]:
        """Their names, without seeds."""
        return tuple(plain(teacher.name) for teacher in self.result.teachers)

    @cached_property
    def answers(self) -> dict[str, Answers]:
        """By split, as far as predictions can be read."""
        found = {split: answers.read(self.result.folder, self.result.data.digest, split) for split in ("test", "rest")}
        return {split: those for split, those in found.items() if those}

    def accuracy(self, split: str) -> float | None:
        """The student's, in [0, 1]."""
        if split in ("test", "validation"):
            return float(getattr(self.result.student, split).accuracy)
        return self.answers[split].accuracy if split in self.answers else None

    @cached_property
    def metrics(self) -> list[dict[str, str]]:
        """What was logged, a row for each time; empty where it cannot be read."""
        try:
            with (self.result.folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file))
        except (OSError, ValueError, csv.Error):
            return []

    @property
    def curves(self) -> dict[str, dict[int, float]]:
        """Validation accuracy by epoch, of the ``student`` and of the ``teacher``."""
        columns = {"student": "validation/accuracy", "teacher": "teacher/validation/accuracy"}
        try:
            return {
                who: {int(row["epoch"]): float(row[column]) for row in self.metrics if row.get(column)}
                for who, column in columns.items()
            }
        except (ValueError, KeyError):
            return {who: {} for who in columns}

    def mean(self, metric: str, *, size: bool = False) -> float | None:
        """Of all that was logged of ``metric``, or of its size without the sign; None where it was not."""
        try:
            logged = [float(row[metric]) for row in self.metrics if row.get(metric)]
        except ValueError:
            return None
        return fmean(map(abs, logged) if size else logged) if logged else None


def read(result: Result) -> Run:
    """The run of ``result``.

    Raises:
        OSError, ValueError: where its settings cannot be read.
    """
    return Run(result, dict(_decides(results.settings_in(result.folder), result)))


def find(folder: Path) -> Run | None:
    """The run that ``folder`` holds; None where it cannot be read."""
    try:
        result = results.read(folder)
        return read(result) if result else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _decides(config: Mapping[str, Any], result: Result) -> Iterator[tuple[str, Any]]:
    """All settings but the seed, those that decide nothing, and those that enter as what they lead to."""
    config = {**NEWER, **config}
    without = {"seed", "noise", *fingerprint.LEFT_OUT, *fingerprint.BY_CONTENT}
    models = config.get("models") or {}
    named = str(config.get("teacher")).split("+")
    if not result.teachers:
        without |= {*fingerprint.OF_DISTILLATION, *fingerprint.OF_TEACHERS}
    elif all(SEED_AND_HASH.search(name) for name in named):
        without |= set(fingerprint.OF_TEACHERS)
    yield "schema", result.version
    yield "noise", result.noise
    yield "student", _identity(str(config.get("student")), models)
    if result.teachers:
        yield "teacher", "+".join(_identity(name, models) for name in named)
    machine = config.get("trainer") or {}
    if (processes := machine.get("devices", 1) * machine.get("num_nodes", 1)) != 1:
        yield "processes", processes
    yield from flat({name: value for name, value in config.items() if name not in without}).items()


def _identity(name: str, models: Mapping[str, Any]) -> str:
    """A model's name without a seed, and where the catalogue has it from."""
    if SEED_AND_HASH.search(name):
        path = Path(name)
        return without_seed(path.parent.name if path.name == "student" else path.name)
    if not (origin := models.get(name)):
        return name
    said = ",".join(f"{key}:{value}" for key, value in sorted(origin.items()) if value is not None)
    stand_in = origin.get("stand_in")
    return f"{name}({said})" + (f" {_identity(stand_in, models)}" if stand_in and stand_in != name else "")
