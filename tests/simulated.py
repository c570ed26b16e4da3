"""Finished runs as they lie in a folder, of answers that are drawn instead of trained for."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from kd_lab import fingerprint as fingerprints
from kd_lab.export.record import FORMATS, Export, ExportOptions, Weights
from kd_lab.results import DataResult, ModelResult, NoisyScores, Result, Scores, Snapshot, TeacherResult

SIZES = {"bert": 109_483_778, "roberta": 124_647_170, "distilbert": 66_955_010, "tinybert": 14_350_874}
VALIDATION = 80


def scores(right: NDArray[np.bool_]) -> Scores:
    return Scores(accuracy=float(right.mean()), loss=float(1 - right.mean()), rows=len(right))


def run(
    folder: Path,
    method: str,
    seed: int,
    *,
    teachers: Sequence[str] = ("bert",),
    student: str = "distilbert",
    accuracy: float = 0.9,
    rows: int = 200,
    rest: int = 0,
    sentences: bool = False,
    noise: str = "none",
    warmup: int = 0,
    digest: str = "d" * 64,
    data: str = "sst2",
    teacher: str | None = None,
    made_by: str | None = None,
    warnings: Sequence[str] = (),
    milliseconds: float | None = None,
    of_method: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """One run; rows are the same for all runs of one size, and the harder ones are hard for all."""
    teachers = teachers if method != "finetune" else ()
    draws = np.random.default_rng([seed, len(method), *map(ord, student), *map(len, teachers)])
    parts = {"validation": VALIDATION, "test": rows} | ({"rest": rest} if rest else {})
    hard = {name: np.random.default_rng(size).random(size) for name, size in parts.items()}
    right = {name: 0.9 * hard[name] + 0.1 * draws.random(size) < accuracy for name, size in parts.items()}
    taught = {name: 0.9 * hard[name] + 0.1 * draws.random(size) < 0.93 for name, size in parts.items()}
    name = f"{method}_{'-and-'.join([*teachers, student])}_{data}_{noise}_{warmup}_seed{seed}"
    told = {**settings, **(of_method or {})}
    name += "".join(f"_{key}-{value}" for key, value in told.items()) + f"_{digest[:8]}"
    place = folder / name
    (place / "predictions").mkdir(parents=True)
    for part in parts:
        _predictions(place / "predictions" / f"{part}.csv", right[part], taught[part] if teachers else None, sentences)
    snapshot = Snapshot(validation=scores(taught["validation"]), test=scores(taught["test"]))
    members = [
        TeacherResult(
            name=t,
            parameters=SIZES.get(t, 1_000_000),
            validation=snapshot.validation,
            test=snapshot.test,
            accuracy_before=0.94,
            before=snapshot,
            at_end=snapshot,
            learned=method == "metadistil",
            made_by=made_by,
        )
        for t in teachers
    ]
    size = SIZES.get(student, 1_000_000)
    Result(
        schema=fingerprints.SCHEMA,
        fingerprint=digest,
        name=name,
        method=method,
        seed=seed,
        data=DataResult(name=data, digest=digest, sizes={"train": 900, "quiz": 20, **parts}, dropped={}),
        noise=noise,
        warmup_epochs=warmup,
        student=ModelResult(
            name=student,
            parameters=size,
            validation=scores(right["validation"]),
            test=scores(right["test"]),
            milliseconds=milliseconds,
        ),
        teachers=members,
        ensemble=snapshot if members else None,
        rest=scores(right["rest"]) if rest else None,
        under_noise=[
            NoisyScores(accuracy=max(0.5, accuracy - slope * p), loss=0.5, rows=rows, noise=kind, p=p)
            for kind, slope in (("word", 0.8), ("typos", 0.5))
            for p in (0.1, 0.2, 0.3)
        ],
        best_epoch=3,
        epochs=3,
        steps=90,
        teacher_updates=90 if method == "metadistil" else 0,
        teacher_displacement=0.002 if method == "metadistil" else 0,
        times_smaller=max(t.parameters for t in members) / size if members else None,
        seconds=100 + seed,
        warnings=list(warnings),
        versions={},
        git_revision=None,
    ).write(place)
    config = {
        "method": {"name": method, "_target_": f"kd_lab.methods.{method}.M", **(of_method or {})},
        "teacher": teacher or "+".join(teachers) or "bert",
        "student": student,
        "data": {"name": data},
        "noise": {"name": noise.split()[0]},
        "models": {known: {"hub": f"somebody/{known}"} for known in SIZES},
        "trainer": {"devices": 1},
        "seed": seed,
        "lr": 7e-5,
        "output_dir": str(folder),
        **settings,
    }
    (place / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    _curves(place / "metrics.csv", accuracy, method == "metadistil", draws)
    return place


def export(
    folder: Path,
    name: str,
    fingerprint: str | None = None,
    *,
    accuracy: float = 0.8635,
    megabytes: float = 91,
    data: Mapping[str, Any] | None = None,
    refused: str | None = None,
    role: Literal["student", "teacher"] = "student",
) -> None:
    """An export in ``folder``/exports; its int8 file is a quarter as large and loses a quarter of a point."""
    place = folder / "exports" / name
    place.mkdir(parents=True)
    weights = [
        Weights(
            format=kind,
            path=kind,
            bytes=round(1e6 * megabytes * share),
            sha256="0" * 64,
            difference=difference,
            accuracy=accuracy - loss,
            agreement=0.99,
            refused=refused if kind == "int8" else None,
        )
        for kind, share, difference, loss in zip(
            FORMATS, (1, 1.002, 0.256), (3.8e-6, 3.8e-6, 0.25), (0, 0, 0.0025), strict=True
        )
    ]
    Export(
        name=name,
        role=role if fingerprint else "model",
        run=None,
        fingerprint=fingerprint,
        identity="1" * 64,
        parameters=22_000_000,
        label_names=["negative", "positive"],
        max_length=128,
        data=dict(data or {}),
        rows={"test": 2000},
        accuracy=accuracy,
        order=ExportOptions(),
        weights=weights,
        command="",
        versions={},
    ).write(place)


def _predictions(path: Path, right: NDArray[Any], taught: NDArray[Any] | None, sentences: bool) -> None:
    labels = ("negative", "positive")
    header = ["row", "label", "prediction", *(f"logit {label}" for label in labels)]
    header += (["teachers"] if taught is not None else []) + (["sentence"] if sentences else [])
    draws = np.random.default_rng(len(right))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(header)
        for row in range(len(right)):
            label = int(draws.integers(2))
            said = label if right[row] else 1 - label
            sure = float(draws.exponential(1.5 if right[row] else 0.7))
            line = [row, labels[label], labels[said], *(f"{sure if k == said else -sure:.6g}" for k in (0, 1))]
            line += [labels[label if taught[row] else 1 - label]] if taught is not None else []
            table.writerow(line + ([row // 4] if sentences else []))


def _curves(path: Path, accuracy: float, learns: bool, draws: np.random.Generator) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        quiz = ["quiz/loss_before", "quiz/loss", "teacher/gradient_norm", "teacher/gradient_cosine"] if learns else []
        table.writerow(["epoch", "step", "train/loss", "validation/accuracy", "teacher/validation/accuracy", *quiz])
        for epoch in range(3):
            learning = [0.5, 0.4 + 0.01 * epoch, 0.03, 0.5 * (-1) ** epoch] if learns else []
            table.writerow([epoch, 30 * epoch + 9, 0.5, "", "", *learning])
            now = accuracy - 0.05 * (2 - epoch) + draws.normal(0, 0.01)
            table.writerow([epoch, 30 * epoch + 29, "", now, 0.94 - 0.01 * epoch if learns else "", *[""] * len(quiz)])


TABLE1: Sequence[tuple[str, Sequence[str], str, float]] = [
    ("finetune", (), "bert", 0.938),
    ("finetune", (), "roberta", 0.93),
    ("finetune", (), "distilbert", 0.926),
    ("finetune", (), "tinybert", 0.9),
    ("kd", ("bert",), "distilbert", 0.931),
    ("kd", ("bert",), "tinybert", 0.91),
    ("kd", ("roberta",), "distilbert", 0.815),
    ("metadistil", ("bert",), "distilbert", 0.935),
    ("metadistil", ("bert",), "tinybert", 0.903),
    ("metadistil", ("roberta",), "distilbert", 0.893),
    ("metadistil", ("bert", "roberta"), "distilbert", 0.928),
    ("metadistil", ("bert", "bert"), "distilbert", 0.935),
]
"""Settings as in the reference slides' table 1, with accuracies to draw around."""


def table1(folder: Path, seeds: int = 3, **options: Any) -> Path:
    """All of them, under some seeds each."""
    for method, teachers, student, accuracy in TABLE1:
        for seed in range(seeds):
            run(folder, method, seed, teachers=teachers, student=student, accuracy=accuracy, **options)
    return folder
