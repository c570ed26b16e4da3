"""One finished run, read from its own files."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from kd_lab import fingerprint
from kd_lab.results import Result

Array = NDArray[Any]

SEED_AND_HASH = re.compile(r"_seed\d+_[0-9a-f]{8}")
BINS = 15


@dataclass(frozen=True)
class Answers:
    """What a student answered on the R rows of a split.

    Attributes:
        rows: [R], their numbers in the source, as text.
        right: [R], whether the student was.
        confidence: [R], the probability of what it said.
        clusters: [R], the sentence each row comes from; the row itself where that is not written.
        teachers_right, agrees: [R], whether the teachers were right and whether the student said the same; or None.
    """

    rows: Array
    right: Array
    confidence: Array
    clusters: Array
    teachers_right: Array | None
    agrees: Array | None

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return float(self.right.mean())

    def reliability(self) -> list[tuple[int, float, float]]:
        """Of each bin of confidence that holds any: rows, mean confidence, accuracy; 15 bins of equal width."""
        place = np.minimum((self.confidence * BINS).astype(int), BINS - 1)
        bins = [place == number for number in range(BINS)]
        return [(int(b.sum()), float(self.confidence[b].mean()), float(self.right[b].mean())) for b in bins if b.any()]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error in [0, 1] (Guo et al., arXiv 1706.04599)."""
        return sum(rows * abs(sure - right) for rows, sure, right in self.reliability()) / len(self.rows)


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
        found = {split: answers_in(self.result.folder / "predictions" / f"{split}.csv") for split in ("test", "rest")}
        return {split: answers for split, answers in found.items() if answers}

    def accuracy(self, split: str) -> float | None:
        """The student's, in [0, 1]."""
        if split in ("test", "validation"):
            return float(getattr(self.result.student, split).accuracy)
        return self.answers[split].accuracy if split in self.answers else None

    @cached_property
    def curves(self) -> dict[str, dict[int, float]]:
        """Validation accuracy by epoch, of the ``student`` and of the ``teacher``."""
        columns = {"student": "validation/accuracy", "teacher": "teacher/validation/accuracy"}
        found: dict[str, dict[int, float]] = {who: {} for who in columns}
        try:
            with (self.result.folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    for who, column in columns.items():
                        if row.get(column):
                            found[who][int(row["epoch"])] = float(row[column])
        except (OSError, ValueError, KeyError, csv.Error):
            return {who: {} for who in columns}
        return found


def plain(name: str) -> str:
    """The name of a model: of a run's folder without its seed and digest, of plain fine-tuning only the student's."""
    bare = without_seed(name)
    tuned = re.fullmatch(r"finetune_(.+)_[^_]+", bare)
    return tuned[1] if tuned and bare != name else bare


def without_seed(text: str) -> str:
    """``text`` without the seeds and digests that end the names of runs' folders."""
    return SEED_AND_HASH.sub("", text)


def read(result: Result) -> Run:
    """The run of ``result``.

    Raises:
        OSError, ValueError, yaml.YAMLError: where its config.yaml cannot be read.
    """
    config = yaml.safe_load((result.folder / "config.yaml").read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError("no settings")
    return Run(result, dict(_decides(config, result)))


def _decides(config: Mapping[str, Any], result: Result) -> Iterator[tuple[str, Any]]:
    """All settings but the seed, those that decide nothing, and those that enter as what they lead to."""
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
    yield from _flat({name: value for name, value in config.items() if name not in without})


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


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def answers_in(path: Path) -> Answers | None:
    """The predictions in ``path``, or None where they cannot be read."""
    from pyarrow import ArrowException, compute, csv, string

    words = dict.fromkeys(("row", "label", "prediction", "teachers", "sentence"), string())
    try:
        table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=words))
        names = [name for name in table.column_names if name.startswith("logit ")]
        logits = np.stack([table[name].to_numpy().astype(float) for name in names], axis=1)
        rows, label, said = (table[name] for name in ("row", "label", "prediction"))
    except (OSError, ValueError, KeyError, ArrowException):
        return None
    if not len(rows) or not np.isfinite(logits).all():
        return None

    def same(first: Any, second: Any) -> Array:
        return np.array(compute.equal(first, second).to_numpy(), dtype=bool)

    sure = 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
    taught = table["teachers"] if "teachers" in table.column_names else None
    numbers = np.array(rows.to_pylist())
    return Answers(
        rows=numbers,
        right=same(label, said),
        confidence=sure,
        clusters=np.array(table["sentence"].to_pylist()) if "sentence" in table.column_names else numbers,
        teachers_right=None if taught is None else same(taught, label),
        agrees=None if taught is None else same(taught, said),
    )
