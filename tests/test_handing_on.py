"""What is set reaches what it is for; above all a seed reaches every draw: tests over seeds stand on that."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from kd_lab import catalogue, composition, experiment, machine, models, precision
from kd_lab.data import TextDataModule
from kd_lab.fitting import Fitting
from kd_lab.methods.finetune import Finetune
from kd_lab.models import Classifier
from kd_lab.noise import LABELS, TEXT_NOISES, Noise
from kd_lab.optimization import Optimization
from kd_lab.settings import Settings

Make = Callable[..., Classifier]
MakeData = Callable[..., TextDataModule]
WORDS = ("one", "two", "three")
TEXT = "one two three four five six seven eight nine ten eleven twelve"


class SeenError(Exception):
    """A run had come so far."""


@pytest.fixture
def handed_on(compose: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Any, str]]:
    """Method, data and precision with which a run would begin to train."""

    def seen(*words: str) -> tuple[Any, Any, str]:
        found: list[Any] = []

        def fit(self: Fitting, method: Any, data: Any, loggers: object) -> None:
            found.extend((method, data, torch.get_float32_matmul_precision()))
            raise SeenError

        monkeypatch.setattr(Fitting, "fit", fit)
        with pytest.raises(SeenError):
            experiment.train(compose("method=finetune", "student=tiny-bert", *words))
        method, data, reduced = found
        return method, data, reduced

    return seen


def test_what_a_run_is_told_reaches_method_and_data(handed_on: Callable[..., tuple[Any, Any, str]]) -> None:
    words = ("seed=5", "lr=3e-4", "weight_decay=0.2", "batch_size=24", "micro_batch_size=4", "trainer.workers=1")
    method, data, reduced = handed_on(*words, "noise=typos", "noise.p=0.3", "precision=bf16-matmul")
    assert (method.seed, method.micro_batch_size, method.optimization) == (5, 4, Optimization(3e-4, 0.2))
    assert (data.seed, data.batch_size, data.workers) == (5, 24, 1)
    assert data.parts["train"].noise == Noise("typos", 0.3, 5)
    assert reduced == "medium"


def test_a_students_head_is_of_its_seed(handed_on: Callable[..., tuple[Any, Any, str]]) -> None:
    heads = [handed_on(f"seed={seed}")[0].student.model.classifier.weight for seed in (5, 6, 5)]
    assert torch.equal(heads[0], heads[2])
    assert not torch.equal(heads[0], heads[1])


def test_dropout_is_of_seed_stage_and_step(classifier: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(seed: int, prefix: str, step: int) -> float:
        monkeypatch.setattr(Finetune, "global_step", step)
        Finetune(student, seed=seed, prefix=prefix).on_train_batch_start(None, 0)  # type: ignore[arg-type]
        return torch.rand(()).item()

    student = classifier("bert")
    keys = [(0, "", 0), (1, "", 0), (0, "warmup/", 0), (0, "", 1)]
    draws = [drawn(*key) for key in keys]
    assert draws == [drawn(*key) for key in keys]
    assert len(set(draws)) == len(keys)


@pytest.mark.parametrize("name", TEXT_NOISES)
def test_noise_is_of_seed_epoch_and_row(name: str) -> None:
    def drawn(seed: int, epoch: int, row: int) -> str:
        return Noise(name, 0.5, seed, WORDS).sentence(TEXT, epoch, row)

    keys = [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3)]
    draws = [drawn(*key) for key in keys]
    assert draws == [drawn(*key) for key in keys]
    assert len(set(draws)) == len(keys)


def test_wrong_labels_are_of_seed_and_row() -> None:
    first, second = ([Noise(LABELS, 0.5, seed).label(0, 2, row) for row in range(40)] for seed in (0, 1))
    assert first != second
    assert set(first) == {0, 1}


def test_batches_and_quizzes_are_of_the_seed(classifier: Make, toy_data: MakeData) -> None:
    student = classifier("bert")
    first, second = (toy_data([student], 400, seed=seed) for seed in (0, 1))
    orders = [next(iter(data.train_dataloader().sampler)) for data in (first, second)]
    assert orders[0] != orders[1]
    quizzes = [[data.quiz_batch(number, 3).rows.tolist() for number in range(8)] for data in (first, second)]
    assert quizzes[0] != quizzes[1]


def test_the_learning_rate_rises_and_falls_in_straight_lines() -> None:
    optimization = Optimization()
    optimizer = optimization.optimizer([nn.Parameter(torch.zeros(1))], lr=1.0)
    (factor,) = optimization.schedule(optimizer, 100).lr_lambdas
    assert [factor(n) for n in (0, 2, 5, 6, 53, 99)] == pytest.approx([1 / 6, 3 / 6, 1, 1, 47 / 94, 1 / 94])


@pytest.mark.parametrize(
    ("name", "products", "lightning"),
    [("float32", "highest", "32-true"), ("bf16-matmul", "medium", "32-true"), ("bf16-mixed", "highest", "bf16-mixed")],
)
def test_each_precision_switches_what_it_says_and_switches_it_back(
    name: str, products: str, lightning: str, compose: Callable[..., Settings]
) -> None:
    before = torch.get_float32_matmul_precision()
    with precision.of(name):
        assert torch.get_float32_matmul_precision() == products
        trainer = machine.trainer(compose(f"precision={name}"), "here", logger=False)
    assert torch.get_float32_matmul_precision() == before
    assert trainer.precision == lightning


@pytest.mark.parametrize(("accelerator", "fused"), [("cpu", False), ("auto", True)])
def test_attention_is_chosen_by_the_device_that_is_used_not_by_those_there_are(
    accelerator: str, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with precision.of("bf16-matmul", accelerator):
        assert torch.backends.cuda.flash_sdp_enabled() == fused  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
def test_a_model_drops_as_much_as_its_own_configuration_says(kind: str) -> None:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    checkpoint = catalogue.locate(f"tiny-{kind}", composition.settings_of(["experiment=smoke"]).models)
    loaded = models.load(checkpoint, ("a", "b"), 64).model
    plain = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        AutoConfig.from_pretrained(checkpoint.folder)
    )

    def dropouts(model: nn.Module) -> dict[str, float]:
        return {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}

    assert dropouts(loaded) == dropouts(plain)
    assert 0.1 in dropouts(loaded).values()
