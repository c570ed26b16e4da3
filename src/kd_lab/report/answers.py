"""What a student answered, row by row: from a run's own predictions, or from the small form that is kept of them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from kd_lab.errors import UserError

Array = NDArray[Any]

BINS = 15
FINEST = 2**16 - 1  # steps of a confidence that is kept
SHARED = "rows"


@dataclass(frozen=True)
class Answers:
    """What a student answered on the R rows of a split.

    Attributes:
        rows: [R], their numbers in the source.
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

    @property
    def nested(self) -> bool:
        """Whether it is known of some rows that they stand inside others."""
        return not np.array_equal(self.rows, self.clusters)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error in [0, 1] (Guo et al., arXiv 1706.04599)."""
        bins = reliability(self.confidence, self.right)
        return sum(rows * abs(sure - right) for rows, sure, right in bins) / len(self.rows)


def reliability(confidence: Array, right: Array) -> list[tuple[int, float, float]]:
    """Of each bin of ``confidence`` [n] that holds any: rows, mean confidence, mean of ``right`` [n]; 15 bins of equal
    width.
    """
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = [place == number for number in range(BINS)]
    return [(int(b.sum()), float(confidence[b].mean()), float(right[b].mean())) for b in bins if b.any()]


def of_csv(path: Path) -> Answers | None:
    """The predictions that a run wrote to ``path``, or None where they cannot be read."""
    from pyarrow import ArrowException, compute, csv, int64, string

    kinds = dict.fromkeys(("row", "sentence"), int64()) | dict.fromkeys(("label", "prediction", "teachers"), string())
    try:
        table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=kinds))
        names = [name for name in table.column_names if name.startswith("logit ")]
        logits = np.stack([table[name].to_numpy().astype(float) for name in names], axis=1)
        rows, label, said = (table[name] for name in ("row", "label", "prediction"))
    except (OSError, ValueError, KeyError, ArrowException):
        return None
    if not len(rows) or not np.isfinite(logits).all():
        return None

    def same(first: Any, second: Any) -> Array:
        return np.array(compute.equal(first, second).to_numpy(), dtype=bool)

    numbers = rows.to_numpy()
    sure = 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
    taught = table["teachers"] if "teachers" in table.column_names else None
    return Answers(
        rows=numbers,
        right=same(label, said),
        confidence=sure,
        clusters=table["sentence"].to_numpy() if "sentence" in table.column_names else numbers,
        teachers_right=None if taught is None else same(taught, label),
        agrees=None if taught is None else same(taught, said),
    )


def read(folder: Path, digest: str, split: str) -> Answers | None:
    """The answers of the run in ``folder`` on a split of its data, in either form; None where there are none."""
    path = folder / "predictions" / split
    return of_csv(path.with_suffix(".csv")) or _of_kept(path.with_suffix(".npz"), shared(folder.parent, digest, split))


def shared(place: Path, digest: str, split: str) -> Path:
    """Where ``place`` keeps the numbers of the rows of a split, once for all runs on the same data."""
    return place / SHARED / f"{digest[:16]}-{split}.npz"


def keep(answers: Answers, folder: Path, digest: str, split: str) -> None:
    """Write the small form: no texts and no logits, a bit per row and question, and confidence in 16 bits.

    Raises:
        UserError: if other rows are kept there already for this data.
    """
    rows = shared(folder.parent, digest, split)
    numbers = {"rows": answers.rows, "clusters": answers.clusters}
    if rows.is_file():
        known = _arrays(rows)
        if not all(np.array_equal(known[name], those) for name, those in numbers.items()):
            raise UserError(f"{rows} holds other rows than {folder.name}: keep these runs in another folder")
    else:
        rows.parent.mkdir(parents=True, exist_ok=True)
        _write(rows, {name: those.astype(np.int32) for name, those in numbers.items()})
    facts = {"right": answers.right, "teachers_right": answers.teachers_right, "agrees": answers.agrees}
    bits = {name: np.packbits(fact) for name, fact in facts.items() if fact is not None}
    path = folder / "predictions" / f"{split}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, {"confidence": np.rint(answers.confidence * FINEST).astype(np.uint16), **bits})


def _write(path: Path, arrays: Mapping[str, Any]) -> None:
    """Whole: another process may be about to read it, or to write the same."""
    scratch = path.with_name(f"{path.stem}.{os.getpid()}.partial.npz")
    np.savez_compressed(scratch, **arrays)
    scratch.replace(path)


def _of_kept(path: Path, rows: Path) -> Answers | None:
    try:
        found, known = _arrays(path), _arrays(rows)
        numbers, confidence = known["rows"], found.pop("confidence") / FINEST
        facts = {name: np.unpackbits(bits, count=len(numbers)).astype(bool) for name, bits in found.items()}
        if len(confidence) != len(numbers):
            return None
        return Answers(
            rows=numbers,
            right=facts["right"],
            confidence=confidence,
            clusters=known["clusters"],
            teachers_right=facts.get("teachers_right"),
            agrees=facts.get("agrees"),
        )
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        return None


def _arrays(path: Path) -> dict[str, Array]:
    # numpy leaves a file open that is none of its own.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
        return dict(found)
