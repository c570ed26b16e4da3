"""Two processes with half the batch each take the steps that one takes with the whole."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import seed_everything
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException, start_processes

from kd_lab import building, catalogue, composition, launcher, machine, models, quiet, ranks, settings, sources, splits
from kd_lab.composition import method_named
from kd_lab.data import TextDataModule
from kd_lab.errors import UserError
from kd_lab.models import Classifier, TeacherEnsemble
from kd_lab.optimization import Optimization
from kd_lab.settings import Method

BATCH, BATCHES = 53, 4  # of 160 rows; the last batch has one row, and the second process none of it
LEARNING = {"inner_lr": 0.1, "teacher_lr": 1e-3, "teacher_every": 1, "label_loss": 0.0}
KNOBS = {"teacher_weights": "confidence", "preconditioned": True, "label_loss": 0.5, "frozen": 0.3, "quiz_batches": 2}
CASES: dict[str, tuple[str, int, dict[str, Any], int | None]] = {
    "finetune": ("finetune", 0, {}, None),
    "kd": ("kd", 1, {}, 7),
    "metadistil": ("metadistil", 1, {**LEARNING, "quiz_batch_size": 3}, None),
    "metadistil, two teachers": ("metadistil", 2, {**LEARNING, "teacher_every": 2}, 20),
    "metadistil, unrolled": ("metadistil", 1, {**LEARNING, "hypergradient": "unrolled"}, None),
    "metadistil, centred": ("metadistil", 1, {**LEARNING, "hypergradient": "centred"}, 20),
    "metadistil, every knob": ("metadistil", 2, {**LEARNING, **KNOBS}, 20),
    "metadistil, the control": ("metadistil", 1, {**LEARNING, "hypergradient": "labels"}, None),
}
"""Method, teachers, settings of the method, rows per micro-batch."""


def train(case: str, epochs: int, devices: int) -> dict[str, Tensor]:
    """Steps in float64 without dropout: the weights in the end."""
    name, members, arguments, size = CASES[case]
    quiet.libraries()
    quiet.transformers()
    seed_everything(0, verbose=False)
    checked = composition.settings_of(["experiment=smoke", "data.rows=200", "precision=float32"])
    checked = checked.model_copy(update={"trainer": checked.trainer.model_copy(update={"devices": devices})})
    student, *teachers = (_classifier(checked, kind) for kind in ("tiny-distilbert", "tiny-bert", "tiny-roberta"))
    teachers = teachers[:members]
    rows = sources.load(checked.data)
    cut = splits.cut(rows.texts, rows.labels, checked.data.sizes, checked.data.holdout, 0)
    encoders = [model.encoder for model in (student, *teachers)]
    data = TextDataModule(rows, cut, encoders, batch_size=BATCH)
    method = Method.model_validate(method_named(name).model_dump(exclude_unset=True, by_alias=True) | arguments)
    built = building.build(
        method,
        student,
        TeacherEnsemble(teachers) if teachers else None,
        quiz=data.quiz_batch,
        micro_batch_size=size,
        optimization=Optimization(lr=1e-3),
    )
    trainer = machine.trainer(checked, case, epochs=epochs, together=True, logger=False, limit_val_batches=0)
    trainer.fit(built, datamodule=data)
    assert trainer.global_step == epochs * BATCHES
    return {key: value.clone() for key, value in built.state_dict().items()}


def _classifier(checked: settings.Settings, kind: str) -> Classifier:
    made = models.load(catalogue.locate(kind, checked.models), ("negative", "positive"), 64).double()
    for module in made.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return made


def work(process: int, port: int, epochs: int, folder: Path) -> None:
    """What each of the two processes does."""
    launcher.take_place(process, 2, port)
    torch.set_num_threads(1)
    for case in CASES:
        torch.save(train(case, epochs, 2), folder / f"{case}-{process}.pt")
    ranks.part()


def test_processes_that_we_start_in_a_job_of_slurms_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KD_LAB_PROCESS", "KD_LAB_PROCESSES", "LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # so that they are put back
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_NAME", "mine")
    assert SLURMEnvironment.detect()
    launcher.take_place(1, 2, 4000)
    assert not SLURMEnvironment.detect()


def test_several_processes_are_not_started_outside_of_the_main_thread() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(UserError, match=r"trainer.devices: several .* main thread"):
        pool.submit(launcher.launch, None, ()).result()  # type: ignore[arg-type]


Weights = dict[str, Tensor]


@pytest.fixture(scope="module", params=[2, pytest.param(13, marks=pytest.mark.slow)])
def together(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, dict[tuple[str, int], Weights]]:
    """The number of epochs, and the weights by case and process."""
    folder, epochs = tmp_path_factory.mktemp("ranks"), request.param
    start_processes(work, (find_free_network_port(), epochs, folder), 2)  # type: ignore[no-untyped-call]
    return epochs, {
        (case, process): torch.load(folder / f"{case}-{process}.pt", weights_only=True)
        for case, process in product(CASES, range(2))
    }


@pytest.mark.parametrize("case", CASES)
def test_two_processes_take_the_steps_of_one(case: str, together: tuple[int, dict[tuple[str, int], Weights]]) -> None:
    epochs, weights = together
    first, second = weights[case, 0], weights[case, 1]
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name, alone in train(case, epochs, 1).items():
        assert torch.allclose(first[name], alone, rtol=0, atol=1e-8), name


def _goes(process: int, words: Any) -> None:
    if process:
        words.put((process, "no more", 0))
    else:
        time.sleep(600)


def test_whoever_waits_for_a_process_that_has_gone_is_ended() -> None:
    """As with nccl, which does not tell."""
    words = get_context("spawn").SimpleQueue()
    two: Any = start_processes(_goes, (words,), 2, join=False)  # type: ignore[no-untyped-call]
    began = time.monotonic()
    with pytest.raises(ProcessException):
        launcher._wait(two, words, grace=0.5)
    assert time.monotonic() - began < 60
    assert words.get() == (1, "no more", 0)
