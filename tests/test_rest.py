"""The large holdout: all that training has not touched."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kd_lab import experiment, planning, splits
from kd_lab.errors import UserError
from kd_lab.settings import Settings

Compose = Callable[..., Settings]
TEXTS = [
    "a good film with a bad end",
    "a good film",
    "a bad end",
    "no film at all",
    "no film",
    "such a long story of nothing",
    "a long story",
    "dull and slow",
    "dull",
]
LABELS = [1, 1, 0, 0, 0, 0, 0, 0, 0]


def test_the_rest_stands_neither_inside_nor_around_what_was_used() -> None:
    texts, labels = [*TEXTS, "a tedious one", "tedious"], [*LABELS, 0, 0]
    cut = splits.Splits(train=(1,), quiz=(4,), validation=(5,), test=(8,))
    assert splits.rest(texts, labels, cut, "row") == (0, 2, 3, 6, 7, 9, 10)
    # The first sentence is around a training text, and its other part shares it; likewise the fourth, sixth and eighth.
    assert splits.rest(texts, labels, cut, "sentence") == (9, 10)


def test_texts_of_two_labels_are_in_no_rest() -> None:
    cut = splits.Splits(train=(0,), quiz=(1,), validation=(2,), test=(3,))
    assert splits.rest([*TEXTS, "Dull"], [*LABELS, 1], cut, "row") == (4, 5, 6, 7)


def test_the_sentence_of_a_text_is_the_longest_around_it() -> None:
    assert splits.sentences(TEXTS, LABELS, [0, 1, 2, 4, 8, 7]) == [0, 0, 0, 3, 7, 7]


def test_predictions_name_the_sentence_of_each_row(compose: Compose) -> None:
    run = planning.plan(compose("method=finetune", "student=tiny-bert", "data.holdout=row"))
    rows = replace(run.rows, texts=TEXTS, labels=LABELS)
    cut = splits.Splits(train=(0,), quiz=(1,), validation=(3,), test=(8, 5, 6))
    assert replace(run, rows=rows, splits=cut).sentences("test") == [7, 5, 5]


def test_a_run_answers_the_rest_on_request_and_a_finished_one_later(compose: Compose) -> None:
    words = ("method=finetune", "student=tiny-bert", "max_epochs=1", "data.train=100", "noise=none")
    first = experiment.train(compose(*words))
    assert first.rest is None
    assert not (first.folder / "predictions" / "rest.csv").exists()
    later = experiment.train(compose(*words, "data.rest=true"))
    assert later.folder == first.folder
    assert later.rest is not None
    with (later.folder / "predictions" / "rest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    settings = compose(*words)
    run = planning.plan(settings)
    cut = run.splits
    used = {splits.normal(run.rows.texts[row]) for row in (*cut.train, *cut.quiz, *cut.validation, *cut.test)}
    asked = [int(row["row"]) for row in rows]
    assert len(asked) == later.rest.rows > 200
    assert used.isdisjoint(splits.normal(run.rows.texts[row]) for row in asked)
    right = sum(row["label"] == row["prediction"] for row in rows)
    assert later.rest.accuracy == pytest.approx(right / len(rows))
    assert experiment.train(compose(*words, "data.rest=true", "force=true")).without_times() == later.without_times()
    assert experiment.train(compose(*words)).rest == later.rest


def test_no_rest_is_refused(compose: Compose, tmp_path: Path) -> None:
    sizes = ("data.train=0.8", "data.quiz=0.02", "data.validation=0.08", "data.test=0.1")
    words = ("method=finetune", "student=tiny-bert", "max_epochs=1", "data.holdout=row", *sizes)
    with pytest.raises(UserError, match="leave no row"):
        planning.plan(compose(*words, "data.rest=true")).rest(tmp_path)
    with pytest.raises(UserError, match="leave no row"):
        experiment.train(compose("method=kd", "teacher=tiny-bert", *words[1:], "data.rest=true"))
    assert not list((tmp_path / "outputs").glob("*_*")), "nothing was trained first, no teacher either"
