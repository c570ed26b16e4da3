"""The contract that every method passes: each file of conf/method is picked up by itself."""

import inspect
import math
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from kd_lab import quiet
from kd_lab.composition import CONF, method_named
from kd_lab.data import TextDataModule
from kd_lab.distiller import Distiller
from kd_lab.errors import UserError
from kd_lab.excerpt import Embedding
from kd_lab.methods.finetune import Finetune
from kd_lab.models import Classifier, TeacherEnsemble
from kd_lab.optimization import Optimization

METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
TUNED = {"metadistil": {"teacher_lr": 2e-5, "label_loss": 0.02, "teacher_every": 4}}
"""Settings of which the yaml has what a study found best, and the class the plain method."""
State = dict[str, torch.Tensor]


@pytest.fixture
def make(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> Callable[[str], tuple[Distiller, TextDataModule]]:
    def build(name: str) -> tuple[Distiller, TextDataModule]:
        method = method_named(name)
        student, members = classifier("distilbert", 0, 0.1), [classifier("bert", 1, 0.1), classifier("roberta", 2, 0.1)]
        data = toy_data([student, *members], 400, batch_size=16, noise="word", p=0.05)
        path, _, kind = method.target.rpartition(".")
        teachers = TeacherEnsemble(members) if method.uses_teachers else None
        distiller: Distiller = getattr(import_module(path), kind)(
            student, teachers, **method.arguments(), optimization=Optimization(lr=5e-3), quiz=data.quiz_batch
        )
        return distiller, data

    return build


def fit(method: Distiller, data: TextDataModule, epochs: int, folder: Path, **options: object) -> Trainer:
    quiet.libraries()
    warnings.filterwarnings("ignore", message="The dirpath has changed")
    keep = ModelCheckpoint(folder, "{epoch}", save_top_k=-1)
    bare = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=epochs, callbacks=[keep], num_sanity_val_steps=0, **bare)  # type: ignore[arg-type]
    trainer.fit(method, datamodule=data, **options)  # type: ignore[arg-type]
    return trainer


def state(module: torch.nn.Module | None) -> State:
    return {} if module is None else {name: value.clone() for name, value in module.state_dict().items()}


def equal(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def mean_loss(method: Distiller, data: TextDataModule) -> float:
    method.eval()
    with torch.no_grad():
        return torch.stack([method.loss(batch) for batch in data.one_pass("train")]).mean().item()


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_falls(name: str, make: Callable[[str], tuple[Distiller, TextDataModule]], tmp_path: Path) -> None:
    method, data = make(name)
    before = mean_loss(method, data)
    fit(method, data, 6, tmp_path)
    assert mean_loss(method, data) < 0.9 * before


@pytest.mark.parametrize("name", METHODS)
def test_the_teachers_change_only_if_the_method_says_so_and_steps_count_the_students(
    name: str, make: Callable[[str], tuple[Distiller, TextDataModule]], tmp_path: Path
) -> None:
    method, data = make(name)
    student, teachers = state(method.student), state(method.teachers)
    trainer = fit(method, data, 1, tmp_path)
    assert not equal(state(method.student), student)
    assert equal(state(method.teachers), teachers) != (method.teachers_learn and bool(teachers))
    assert trainer.global_step == len(data.train_dataloader())
    updates = math.ceil(trainer.global_step / method_named(name).teacher_every)
    assert method.teacher_updates == (updates if method.teachers_learn else 0)
    answers = [trainer.predict(method, data.one_pass("test")) for _ in range(2)]
    assert all(equal(first, second) for first, second in zip(*answers, strict=True)), "no dropout in evaluation"


def test_a_fit_shares_memory_of_gradients_whatever_fit_its_models_come_from(
    make: Callable[[str], tuple[Distiller, TextDataModule]], tmp_path: Path
) -> None:
    method, data = make("metadistil")
    fit(Finetune(method.student, optimization=Optimization(lr=5e-3)), data, 1, tmp_path / "warm-up")
    fit(method, data, 1, tmp_path / "fit")
    assert len({id(module.spare) for module in method.modules() if isinstance(module, Embedding)}) == 1


@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_resumes_exactly_and_holds_no_teacher_that_stands_still(
    name: str, make: Callable[[str], tuple[Distiller, TextDataModule]], tmp_path: Path
) -> None:
    method, data = make(name)
    fit(method, data, 3, tmp_path / "whole")
    resumed, data = make(name)
    saved = tmp_path / "whole" / "epoch=0.ckpt"
    fit(resumed, data, 3, tmp_path / "resumed", ckpt_path=str(saved), weights_only=True)
    assert equal(state(method.student), state(resumed.student))
    assert equal(state(method.teachers), state(resumed.teachers))
    kept = torch.load(saved, weights_only=True)["state_dict"]
    assert any(key.startswith("teachers.") for key in kept) == method.teachers_learn


@pytest.mark.parametrize("name", METHODS)
def test_students_train_with_dropout_and_teachers_teach_without(
    name: str, make: Callable[[str], tuple[Distiller, TextDataModule]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, data = make(name)
    seen: list[tuple[bool, bool]] = []
    original = type(method).training_step

    def watch(self: Distiller, *args: object) -> None:
        modes = {module.training for module in self.teachers.modules()} if self.teachers else {False}
        seen.append((all(module.training for module in self.student.modules()), modes == {False}))
        original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(type(method), "training_step", watch)
    method.student.eval()  # as transformers hands it out
    fit(method, data, 2, tmp_path)
    assert len(seen) == 2 * len(data.train_dataloader())
    assert set(seen) == {(True, True)}


@pytest.mark.parametrize("name", METHODS)
def test_a_loss_that_is_no_number_stops_before_the_update(
    name: str, make: Callable[[str], tuple[Distiller, TextDataModule]], tmp_path: Path
) -> None:
    method, data = make(name)
    with torch.no_grad():
        next(method.student.parameters()).fill_(float("nan"))
    before = {key: value.nan_to_num(9.0) for key, value in state(method.student).items()}
    with pytest.raises(UserError, match="became nan at step 0"):
        fit(method, data, 1, tmp_path)
    assert equal({key: value.nan_to_num(9.0) for key, value in state(method.student).items()}, before)


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_file_and_yaml_name_the_same_settings(name: str) -> None:
    method = method_named(name)
    path, _, kind = method.target.rpartition(".")
    takes = inspect.signature(getattr(import_module(path), kind).__init__).parameters
    assert set(method.arguments()) <= set(takes)
    defaults = {key: takes[key].default for key in method.arguments()}
    assert defaults | TUNED.get(name, {}) == method.arguments()
