"""Whether an export answers as the original does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kd_lab import files, finished, predicting, sources
from kd_lab.export import runtimes
from kd_lab.export.record import PATHS, ExportOptions, Format, Weights
from kd_lab.finished import Finished

SPLITS = ("test", "validation", "train")
"""In this order rows are taken, as many as are asked for."""


@dataclass(frozen=True)
class Rows:
    """N rows, and what the original says of them.

    Attributes:
        texts: N of them.
        labels: [N], as the classifier numbers them.
        counts: how many of each split.
        logits: [N, C], the original's.
    """

    texts: Sequence[str]
    labels: NDArray[np.int64]
    counts: dict[str, int]
    logits: NDArray[np.float32]

    @property
    def accuracy(self) -> float:
        """Of the original, in [0, 1]."""
        return float((self.logits.argmax(axis=1) == self.labels).mean())


def texts_of(found: Finished, count: int) -> tuple[list[str], list[int], dict[str, int]]:
    """Up to ``count`` texts, test ones first, with their labels, and how many there are of each split.

    Raises:
        UserError: if the data cannot be had, or has labels that the classifier does not know.
    """
    data = found.settings.data
    every, splits = sources.load_and_cut(data)
    rows, cut = finished.numbered_by(found, every), dict(splits.items())
    numbers: list[int] = []
    counts: dict[str, int] = {}
    for name in SPLITS:
        some = list(cut[name])[: count - len(numbers)]
        numbers += some
        counts |= {name: len(some)} if some else {}
    return [rows.texts[n] for n in numbers], [rows.labels[n] for n in numbers], counts


def ask(found: Finished, count: int) -> Rows:
    """Up to ``count`` rows and the original's answers."""
    texts, labels, counts = texts_of(found, count)
    logits = predicting.Predictor(found).logits(texts).numpy()
    return Rows(texts, np.array(labels), counts, logits)


def check(folder: Path, kind: Format, rows: Rows, order: ExportOptions) -> Weights:
    """The weights of the format ``kind``, compared with the original; a file that strays is refused, and removed."""
    said = runtimes.logits(runtimes.Reader(folder), runtimes.start(folder, kind, torch.get_num_threads()), rows.texts)
    path, accuracy = folder / PATHS[kind], float((said.argmax(axis=1) == rows.labels).mean())
    found = Weights(
        format=kind,
        path=PATHS[kind],
        bytes=path.stat().st_size,
        sha256=files.sha256_of(path),
        difference=float(np.abs(said - rows.logits).max()),
        accuracy=accuracy,
        agreement=float((said.argmax(axis=1) == rows.logits.argmax(axis=1)).mean()),
    )
    if refused := _refusal(found, rows, order):
        path.unlink()
        found.refused = refused
    return found


def _refusal(found: Weights, rows: Rows, order: ExportOptions) -> str | None:
    if found.format == "int8":
        # A row's share is what rounding could decide.
        lost = 100 * (rows.accuracy - found.accuracy)
        if lost > order.points + 1e-9:
            return f"loses {lost:.2f} points of accuracy, more than points={order.points:g}"
    elif not found.difference <= order.difference:  # also where it is not a number
        return f"differs from the original by {found.difference:.2g}, more than difference={order.difference:g}"
    return None
