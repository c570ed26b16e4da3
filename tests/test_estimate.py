"""The estimate of hours and memory: counted right, on the models that the slides mean."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification, DistilBertConfig

from kd_lab import composition
from kd_lab.bench import estimate
from kd_lab.errors import UserError
from kd_lab.settings import Settings

TOY = ("models=tiny", "data=toy", "data.train=0.8", "data.quiz=0.02", "data.validation=0.08", "data.test=0.1")


def composed(row: str, *words: str) -> Settings:
    return composition.settings_of([f"experiment={row}", *TOY, *words])


def test_the_shapes_are_the_slides_models() -> None:
    counted = {name: estimate.shape(name).parameters for name in estimate.SHAPES}
    assert counted == {
        "bert": 109_483_778, "roberta": 124_647_170, "distilbert": 66_955_010, "tinybert": 14_350_874
    }  # fmt: skip
    with pytest.raises(UserError, match="minilm: the shapes that are known here are bert"):
        estimate.shape("minilm")


def test_two_operations_a_parameter_and_token_are_what_torch_counts() -> None:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(DistilBertConfig())  # type: ignore[no-untyped-call]
        ids = torch.zeros(32, 16, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids)
    assert 2 * estimate.shape("distilbert").inner * ids.numel() == pytest.approx(counter.get_total_flops(), rel=0.03)


def test_what_is_kept_for_the_backward_pass_is_counted() -> None:
    """Of one layer of width 768, at the least the inputs of six matrix products and both sides of a GELU."""
    kept, layers = estimate.shape("bert").kept, 12
    assert 4 * layers * 768 * (3 + 3 + 4 + 4) < kept < 4 * layers * 768 * 50


def test_steps_cost_what_the_page_says() -> None:
    s, t = (estimate.shape(name).inner for name in ("distilbert", "bert"))
    finetune, kd, noisy, meta, warm = (
        composed(row, *words)
        for row, words in (
            ("table1-03-finetune-distilbert", ()),
            ("table1-05-kd-bert-distilbert", ()),
            ("table1-05-kd-bert-distilbert", ("noise=word",)),
            ("table1-08-metadistil-bert-distilbert", ()),
            ("table2-2-warm-up-bert-distilbert", ()),
        )
    )
    tokens = estimate.count_tokens(meta)
    one = 2 * tokens.batch * tokens.steps * meta.max_epochs
    q = tokens.quiz / tokens.batch
    assert estimate.cost(finetune).operations == pytest.approx(3 * s * one)
    assert estimate.cost(kd).operations == pytest.approx((3 * s + t / 15) * one)
    assert estimate.cost(noisy).operations == pytest.approx((3 * s + t) * one)
    labels = composed("table1-05-kd-bert-distilbert", "noise=labels")
    assert estimate.cost(labels) == estimate.cost(kd), "teachers do not read labels"
    assert estimate.cost(meta).operations == pytest.approx((7 * s + 3 * q * s + 4 * t) * one)
    assert estimate.cost(warm).operations - estimate.cost(meta).operations == pytest.approx(3 * s * one / 15)
    often = composed("table1-08-metadistil-bert-distilbert", "method.teacher_every=4")
    assert estimate.cost(often).operations < estimate.cost(meta).operations
    student, teacher = (estimate.shape(name).parameters for name in ("distilbert", "bert"))
    for run, moving in ((kd, student), (meta, student + teacher), (often, student + teacher / 4)):
        assert estimate.cost(run).moved == pytest.approx(7 * 4 * moving * tokens.steps * meta.max_epochs)
    weights = 4 * 4 * (estimate.shape("distilbert").parameters + estimate.shape("bert").parameters)
    assert estimate.cost(meta).memory > weights > estimate.cost(kd).memory


def test_tokens_are_those_of_padded_batches() -> None:
    tokens = estimate.count_tokens(composed("table1-03-finetune-distilbert"))
    assert tokens.steps == 320 // 32
    assert 32 * 3 < tokens.batch <= tokens.longest < 32 * 64
    whole = composed("table1-03-finetune-distilbert", "batch_size=320")
    assert estimate.count_tokens(whole).batch > 10 * tokens.batch


def test_teachers_that_no_row_makes_are_counted_once() -> None:
    rows = [name for name, _ in estimate.runs("table1", TOY)]
    assert rows[0] == "teacher bert, seed 1000"
    assert len(rows) == 13
    assert [name for name, _ in estimate.runs("table3", TOY)][:3] == [
        "teacher bert, seed 0", "teacher roberta, seed 0", "teacher bert, seed 1000"
    ]  # fmt: skip


def test_the_door_prints_every_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["estimate", *TOY])
    estimate.main()
    said = capsys.readouterr().out
    for row in sorted(path.stem for path in Path(composition.CONF / "experiment").glob("table*.yaml")):
        assert row in said
    assert said.count("all, one after the other") == 3
    assert "which nobody has run" in said


def test_a_bad_word_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["estimate", "lr=-1"])
    with pytest.raises(SystemExit) as end:
        estimate.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "kd_lab: lr=-1: should be greater than 0\n"


def test_hours_are_operations_and_moved_bytes() -> None:
    machine: Any = "T4"
    peak, bandwidth = estimate.MACHINES[machine]
    assert estimate.Cost(estimate.SHARE * peak * 3600, bandwidth * 3600, 0).hours(machine) == pytest.approx(2)
