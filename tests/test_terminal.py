"""The bars and tables that people read."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import simulated
import torch

from kd_lab import evaluation, experiment, results, run, sweeps
from kd_lab.evaluation import Answers
from kd_lab.results import Result
from kd_lab.settings import Settings
from kd_lab.sources import Rows


def cells(said: str, *words: str) -> list[str]:
    """Of the row that begins with these words, what comes after them."""
    (row,) = (line.split() for line in said.splitlines() if line.split()[: len(words)] == list(words))
    return row[len(words) :]


@pytest.fixture
def result(tmp_path: Path) -> Result:
    found = results.read(simulated.run(tmp_path, "metadistil", 0))
    assert found is not None
    assert found.student.validation.accuracy != found.student.test.accuracy
    return found


def test_a_results_table_has_each_figure_in_its_column(result: Result, capsys: pytest.CaptureFixture[str]) -> None:
    run.show(result)
    said = capsys.readouterr().out
    student, (teacher,) = result.student, result.teachers
    assert cells(said, "student", "distilbert") == [
        f"{100 * student.validation.accuracy:.2f}",
        f"{100 * student.test.accuracy:.2f}",
        f"{student.parameters:,}",
        f"{result.times_smaller:.1f}×",
    ]
    assert cells(said, "teacher", "bert") == [
        f"{100 * teacher.validation.accuracy:.2f}",
        f"{100 * teacher.test.accuracy:.2f}",
        f"{100 * teacher.accuracy_before:.2f}",
        f"{teacher.parameters:,}",
    ]


def test_a_sweeps_table_has_each_figure_in_its_column(result: Result, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.show_results([("seed=0", result)])
    assert result.ensemble
    assert cells(capsys.readouterr().out, "seed=0", "bert", "→", "distilbert") == [
        f"{100 * result.student.validation.accuracy:.2f}",
        f"{100 * result.student.test.accuracy:.2f}",
        f"{100 * result.ensemble.test.accuracy:.2f}",
        f"{result.seconds:.0f}",
    ]


def test_the_surest_mistakes_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MOST_MISTAKES", 2)
    logits = torch.tensor([[1.0, 0.0], [0.0, 3.0], [9.0, 0.0], [2.0, 0.0]])
    answers = Answers(rows=torch.arange(4), labels=torch.tensor([1, 0, 0, 1]), student=logits, teachers=torch.empty(0))
    rows = Rows(texts=["a", "b", "c", "d"], labels=[1, 0, 0, 1], label_names=("bad", "good"))
    found = evaluation.wrong(answers, rows)
    assert [(one["text"], one["label"], one["prediction"]) for one in found] == [
        ("b", "bad", "good"),
        ("d", "good", "bad"),
    ]


def test_a_terminal_has_a_bar_with_the_accuracy_and_a_line_per_epoch(
    compose: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    words = ("method=finetune", "student=tiny-bert", "max_epochs=2", "trainer.enable_progress_bar=true")
    experiment.train(compose(*words))
    said = "".join(capsys.readouterr())
    assert "epoch 2/2: 100%" in said
    assert said.count("finetune: epoch 2/2, mean loss ") == 1
    assert "accuracy=0." in said
