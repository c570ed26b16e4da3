"""Everything of a run happens on the device it is on: no machine with a GPU is needed to see it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import elsewhere
import pytest
import torch

from kd_lab import experiment
from kd_lab.distiller import Distiller
from kd_lab.errors import Interrupted
from kd_lab.settings import Settings

Compose = Callable[..., Settings]
SHORT = ("logger=csv", "max_epochs=1", "warmup_epochs=0", "noise=none", "data.train=96", "teacher=tiny-bert")


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Settings under which finished teachers are found."""
    return f"output_dir={tmp_path_factory.mktemp('elsewhere')}"


def test_tensors_of_two_devices_may_not_meet() -> None:
    with elsewhere.device() as device:
        there = torch.ones(3).to(elsewhere.DEVICE)
        layer = torch.nn.Linear(3, 2).to(elsewhere.DEVICE)
        layer(there).sum().backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.cpu().tolist() == [[1, 1, 1], [1, 1, 1]]
        assert (there * 2).sum().item() == 6
        with pytest.raises(RuntimeError, match="add: 1 of its 2 tensors are on the device"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="add_: 1 of its 2 tensors"):
            torch.zeros(()).add_(there.sum())
        assert device.operations > 10


@pytest.mark.parametrize(
    "words",
    [
        ("method=finetune", "micro_batch_size=4"),
        ("method=kd", "noise=word", "noise.teacher_sees=clean", "precision=bf16-matmul"),
        ("method=kd", "teacher=tiny-bert+tiny-roberta", "method.teacher_weights=confidence", "warmup_epochs=1"),
        ("method=metadistil", "method.label_loss=0.1", "method.train_on_quiz=true"),
        ("method=metadistil", "method.preconditioned=true", "method.quiz_batch_size=4", "method.teacher_every=2"),
        ("method=metadistil", "method.hypergradient=centred", "teacher=tiny-bert+tiny-roberta", "method.frozen=0.5"),
        ("method=metadistil", "method.hypergradient=finite_difference"),
        ("method=metadistil", "method.hypergradient=unrolled"),
        ("method=metadistil", "method.hypergradient=labels"),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_run_stays_on_its_device(words: tuple[str, ...], teachers: str, compose: Compose) -> None:
    settings = compose(*SHORT, *words, teachers, "data.train=320")
    with elsewhere.device() as device:
        result = experiment.train(settings)
    assert device.operations > 1000
    assert result.student.test.rows == 40
    assert (result.teacher_updates > 0) == (settings.method.name == "metadistil")


@pytest.mark.parametrize("method", ["kd", "metadistil"])
def test_an_interrupted_run_goes_on_on_its_device(
    method: str, teachers: str, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*SHORT, f"method={method}", "trainer.checkpoint_minutes=0", "trainer.log_every_n_steps=3", "seed=1")
    settings = compose(*words, teachers, "data.train=320")
    original, steps = Distiller.on_train_batch_start, iter(range(7))

    def cut(self, batch, index):  # type: ignore[no-untyped-def]
        if next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, batch, index)

    with elsewhere.device():
        with monkeypatch.context() as patch:
            patch.setattr(Distiller, "on_train_batch_start", cut)
            with pytest.raises(Interrupted, match="is saved"):
                experiment.train(settings)
        assert experiment.train(settings).steps == 20
