"""Runs, whole: teachers made and found, results written, finished runs recognised."""

import csv
import json
import math
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import wandb
from omegaconf import OmegaConf
from safetensors.torch import load_file
from transformers import pipeline

from kd_lab import (
    composition,
    environment,
    evaluation,
    experiment,
    fingerprint,
    machine,
    planning,
    results,
    settings,
    terminal,
)
from kd_lab.checkpoints import Best
from kd_lab.errors import UserError
from kd_lab.methods.metadistil import MetaDistil
from kd_lab.results import Result
from kd_lab.settings import Settings

Compose = Callable[..., Settings]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """MetaDistil with a WordPiece and a byte-level teacher, a warm-up and noise."""
    words = [
        "experiment=smoke",
        "noise=word",
        "noise.p=0.1",
        "max_epochs=3",
        "trainer.enable_progress_bar=false",
        "trainer.log_every_n_steps=1",
    ]
    folder = tmp_path_factory.mktemp("smoke")
    return experiment.train(composition.settings_of([*words, f"output_dir={folder}"]))


def test_each_teacher_inside_the_run_is_as_good_as_in_its_own_run(smoke: Result) -> None:
    """With other models' token ids it would not be: WordPiece and byte-level BPE share no vocabulary."""
    for teacher in smoke.teachers:
        own = results.read(smoke.folder.parent / str(teacher.made_by))
        assert own is not None
        assert own.student.name == teacher.name
        assert teacher.accuracy_before == own.student.test.accuracy > 0.8
        assert teacher.before.validation == own.student.validation
        assert own.noise == "none"
        assert own.warmup_epochs == 0


def test_the_result_says_what_happened(smoke: Result) -> None:
    written = json.loads((smoke.folder / "result.json").read_text(encoding="utf-8"))
    assert written["schema"] == fingerprint.SCHEMA
    assert written["student"]["name"] == "tiny-distilbert"
    assert 0.6 < written["student"]["validation"]["accuracy"] <= 1
    assert 0.6 < written["student"]["test"]["accuracy"] <= 1
    assert [teacher["name"] for teacher in written["teachers"]] == ["tiny-bert", "tiny-roberta"]
    assert 0.8 < written["ensemble"]["test"]["accuracy"] <= 1
    assert written["steps"] == 3 * 20
    assert written["teacher_updates"] == 3 * 20 / 4
    assert 0 < written["teacher_displacement"] < 0.1
    largest = max(teacher["parameters"] for teacher in written["teachers"])
    assert written["times_smaller"] == pytest.approx(largest / written["student"]["parameters"])
    assert written["data"]["sizes"] == {"train": 320, "quiz": 8, "validation": 32, "test": 40}
    assert sum(written["data"]["dropped"].values()) == 0
    assert written["student"]["milliseconds"] > 0.005
    assert written["processor"] == machine.processor("auto") != ""
    assert written["git_revision"] == environment.git_revision()
    harder = {(scores["noise"], scores["p"]): scores["accuracy"] for scores in written["under_noise"]}
    assert set(harder) == {(noise, p) for noise in ("word", "typos") for p in (0.1, 0.2, 0.3)}
    assert len(set(harder.values())) > 1
    assert set(written["versions"]) >= {"python", "torch", "lightning", "transformers"}
    assert written["seconds"] > 0


def test_a_teacher_is_tested_under_noise_when_somebody_asks_for_it(compose: Compose, tmp_path: Path) -> None:
    """And then it says what it would have said at once; the noisy sentences are the same for every run."""
    experiment.train(compose("method=kd", "teacher=tiny-bert", "max_epochs=1"))
    words = ("method=finetune", "student=tiny-bert", "max_epochs=4")
    (folder,) = (tmp_path / "outputs").glob("finetune_*")
    made = results.read(folder)
    assert made is not None
    assert made.under_noise == []
    asked = experiment.train(compose(*words))
    assert asked.folder == folder
    again = results.read(folder)
    assert again is not None
    assert again.under_noise == asked.under_noise
    assert len({scores.accuracy for scores in asked.under_noise}) > 1
    assert experiment.train(compose(*words, "force=true")).under_noise == asked.under_noise
    run = planning.plan(compose(*words))
    other = replace(run, settings=run.settings.model_copy(update={"seed": 9}))
    assert other.under_noise(folder) == asked.under_noise


def test_the_run_folder_holds_what_people_need(smoke: Result) -> None:
    assert "+" not in smoke.folder.name
    for word in ("metadistil", "tiny-bert", "tiny-roberta", "tiny-distilbert", "toy", "word", "warm-up-1", "seed0"):
        assert word in smoke.folder.name
    splits = json.loads((smoke.folder / "splits.json").read_text(encoding="utf-8"))
    assert {name: len(rows) for name, rows in splits.items()} == smoke.data.sizes
    with (smoke.folder / "metrics.csv").open(encoding="utf-8") as file:
        columns = set(csv.DictReader(file).fieldnames or [])
    wanted = {
        "train/loss",
        "validation/accuracy",
        "teacher/validation/accuracy",
        "quiz/loss",
        "warmup/train/loss",
        "step",
        "epoch",
    }
    assert wanted <= columns
    again = settings.check(OmegaConf.to_container(OmegaConf.load(smoke.folder / "config.yaml")))  # type: ignore[arg-type]
    assert again.student == "tiny-distilbert"


def test_the_docs_name_every_field_of_a_result_and_every_column_of_predictions(smoke: Result) -> None:
    page = (Path(__file__).parents[1] / "docs" / "runs.md").read_text(encoding="utf-8")
    section = page.split("## What a run's folder holds")[1].split("\n## ")[0]
    named = set(re.findall(r"`([^`]+)`", section))
    written = json.loads((smoke.folder / "result.json").read_text(encoding="utf-8"))
    fields = {*written, *written["student"], *written["teachers"][0], *written["data"], *written["under_noise"][0]}
    assert fields <= named
    with (smoke.folder / "predictions" / "test.csv").open(encoding="utf-8") as file:
        columns = csv.DictReader(file).fieldnames or []
    assert {re.sub("^logit .*", "logit NAME", column) for column in columns} <= named


def test_predictions_add_up_to_the_accuracy_and_hold_no_sentence(smoke: Result) -> None:
    for split, scores in (("validation", smoke.student.validation), ("test", smoke.student.test)):
        with (smoke.folder / "predictions" / f"{split}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == scores.rows
        assert sum(row["label"] == row["prediction"] for row in rows) / len(rows) == pytest.approx(scores.accuracy)
        logits = {"logit negative", "logit positive"}
        assert set(rows[0]) == {"row", "sentence", "label", "prediction", "teachers"} | logits


def test_student_and_learned_teachers_are_pipelines(smoke: Result) -> None:
    folders = [smoke.folder / "student", *(smoke.folder / "teachers").iterdir()]
    assert len(folders) == 3
    for folder in folders:
        (answer,) = pipeline("text-classification", str(folder))("the film is really lovely .")
        assert answer["label"] in {"negative", "positive"}


def test_the_same_command_finds_the_finished_run_and_force_repeats_it_bit_by_bit(
    compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("method=kd", "teacher=tiny-bert", "warmup_epochs=0", "max_epochs=1")
    first = experiment.train(compose(*words))
    said: list[str] = []
    monkeypatch.setattr(terminal, "say", said.append)
    found = experiment.train(compose(*words))
    assert found == first
    assert said == [f"found finished: {first.name}"]
    said.clear()
    weights = (first.folder / "student" / "model.safetensors").read_bytes()
    again = experiment.train(compose(*words, "force=true"))
    assert not any("fine-tuning it first" in line for line in said)
    assert (again.folder / "student" / "model.safetensors").read_bytes() == weights
    assert again.without_times() == first.without_times()


def test_a_run_hands_the_data_what_the_method_asks_of_the_quiz(compose: Compose) -> None:
    words = ("method=metadistil", "teacher=tiny-bert", "warmup_epochs=0", "max_epochs=1", "method.train_on_quiz=true")
    whole, one = (experiment.train(compose(*words, *more)) for more in ((), ("method.quiz_rows=1",)))
    sizes = whole.data.sizes
    assert whole.steps == one.steps == math.ceil((sizes["train"] + sizes["quiz"]) / 16) > sizes["train"] / 16
    assert whole.teacher_displacement != one.teacher_displacement


def test_two_teachers_of_one_name_have_their_own_seeds(compose: Compose) -> None:
    run = planning.plan(compose("teacher=tiny-bert+tiny-roberta+tiny-bert", "seed=5"))
    made = [teacher for teacher in run.teachers if isinstance(teacher, planning.Plan)]
    assert [(plan.student.name, plan.settings.seed) for plan in made] == [
        ("tiny-bert", 5),
        ("tiny-roberta", 5),
        ("tiny-bert", 1005),
    ]
    assert len({plan.folder for plan in made}) == 3


def test_a_teacher_is_the_run_that_a_user_would_type(compose: Compose) -> None:
    run = planning.plan(
        compose("method=kd", "teacher=tiny-bert", "noise=word", "warmup_epochs=2", "lr=1e-4", "patience=1")
    )
    (teacher,) = run.teachers
    assert isinstance(teacher, planning.Plan)
    typed = planning.plan(
        compose("method=finetune", "student=tiny-bert", "max_epochs=4", "lr=5e-3", "batch_size=16", "teacher=anything")
    )
    assert teacher.fingerprint == typed.fingerprint
    assert teacher.folder == typed.folder


def test_an_earlier_run_teaches_and_an_outsider_is_warned_of(compose: Compose) -> None:
    first = experiment.train(compose("method=finetune", "student=tiny-bert", "max_epochs=4"))

    def taught_by(teacher: Path, *words: str) -> tuple[Result, list[str]]:
        result = experiment.train(compose("method=kd", f"teacher={teacher}", "max_epochs=1", "warmup_epochs=0", *words))
        return result, [warning for warning in result.warnings if "trained elsewhere" in warning]

    result, warnings = taught_by(first.folder)
    assert result.teachers[0].accuracy_before == first.student.test.accuracy
    assert warnings == []
    _, warnings = taught_by(first.folder / "student", "seed=1")
    assert warnings == ["teacher student was trained elsewhere: it may have seen the quiz and test rows"]
    _, warnings = taught_by(first.folder, "data.seed=1")
    assert len(warnings) == 1


def test_a_teacher_that_knows_nothing_is_refused(compose: Compose) -> None:
    with pytest.raises(UserError, match=r"teacher tiny-bert has .*% validation accuracy, no more than always saying"):
        experiment.train(compose("teacher=tiny-bert", "teacher_finetune_lr=1e-9", "teacher_epochs=1"))


def test_a_student_that_learned_nothing_is_warned_of(compose: Compose) -> None:
    result = experiment.train(compose("method=finetune", "student=tiny-bert", "max_epochs=1", "lr=1e-9"))
    assert len(result.warnings) == 1
    assert "the student is no better than always saying the commonest label" in result.warnings[0]


def test_a_teacher_that_falls_is_warned_of(compose: Compose) -> None:
    moving = ("method.teacher_lr=0.05", "method.teacher_every=1", "method.label_loss=0")
    result = experiment.train(compose("teacher=tiny-bert", *moving, "max_epochs=1", "warmup_epochs=0"))
    (teacher,) = result.teachers
    assert teacher.at_end.validation.accuracy < teacher.before.validation.accuracy
    assert any("teacher tiny-bert fell from" in warning for warning in result.warnings)


def test_of_equally_good_epochs_the_earliest_is_best() -> None:
    best, module = Best("accuracy"), torch.nn.Linear(1, 1)
    for epoch, accuracy in enumerate((0.5, 0.7, 0.7)):
        with torch.no_grad():
            module.weight.fill_(epoch)
        metrics = {"accuracy": torch.tensor(accuracy)}
        best.on_validation_end(SimpleNamespace(callback_metrics=metrics, current_epoch=epoch), module)  # type: ignore[arg-type]
    assert (best.epoch, best.weights["weight"].item()) == (1, 1)


def test_the_best_epoch_is_kept_and_patience_counts_epochs(compose: Compose) -> None:
    result = experiment.train(compose("method=finetune", "student=tiny-bert", "max_epochs=8", "patience=2"))
    with (result.folder / "metrics.csv").open(encoding="utf-8") as file:
        table = [row["validation/accuracy"] for row in csv.DictReader(file)]
    accuracies = [float(value) for value in table if value]
    assert result.best_epoch == accuracies.index(max(accuracies)) + 1
    assert result.epochs == min(8, result.best_epoch + 2) == len(accuracies)
    assert result.student.validation.accuracy == pytest.approx(max(accuracies))


def test_student_and_teachers_are_those_of_the_best_epoch_and_what_is_logged_of_them_is_true(
    compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of two epochs is made the best."""
    epochs: list[dict[str, torch.Tensor]] = []
    look = Best.on_validation_end

    def only_once(self: Best, trainer: Any, module: Any) -> None:
        if isinstance(module, MetaDistil):
            epochs.append({name: value.detach().clone() for name, value in module.named_parameters()})
        if len(epochs) < 2:
            look(self, trainer, module)

    monkeypatch.setattr(Best, "on_validation_end", only_once)
    words = ("teacher=tiny-bert", "method.teacher_lr=1e-3", "method.teacher_every=1", "warmup_epochs=0", "max_epochs=2")
    result = experiment.train(compose(*words))
    (teacher,) = result.teachers
    assert (result.best_epoch, result.epochs, len(epochs)) == (1, 2, 2)
    (its_folder,) = (result.folder / "teachers").iterdir()
    for prefix, folder in (("student.model.", result.folder / "student"), ("teachers.members.0.model.", its_folder)):
        saved = load_file(folder / "model.safetensors")
        assert all(torch.equal(value, epochs[0][prefix + name]) for name, value in saved.items())
        assert not all(torch.equal(value, epochs[1][prefix + name]) for name, value in saved.items())
    start = load_file(result.folder.parent / str(teacher.made_by) / "student" / "model.safetensors")
    moved = sum((epochs[1][f"teachers.members.0.model.{name}"] - was).square().sum() for name, was in start.items())
    assert result.teacher_displacement == pytest.approx(
        float((moved / sum(was.square().sum() for was in start.values())) ** 0.5), rel=1e-3
    )
    with (result.folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["validation/accuracy"]]
    with (result.folder / "predictions" / "validation.csv").open(encoding="utf-8") as file:
        said = list(csv.DictReader(file))
    agree = sum(row["prediction"] == row["teachers"] for row in said) / len(said)
    for name, value in (
        ("validation/accuracy", result.student.validation.accuracy),
        ("teacher/validation/accuracy", teacher.validation.accuracy),
        ("validation/agreement", agree),
    ):
        assert float(rows[0][name]) == pytest.approx(value), name
    assert float(rows[1]["teacher/validation/accuracy"]) == pytest.approx(teacher.at_end.validation.accuracy)


def test_without_a_warm_up_the_batches_are_what_they_are_with_one(
    compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the two settings can be compared row by row."""
    from kd_lab.methods.kd import KnowledgeDistillation

    seen: list[list[int]] = []
    original = KnowledgeDistillation.training_step

    def watch(self, batch, index):  # type: ignore[no-untyped-def]
        seen.append(batch.rows.tolist())
        original(self, batch, index)

    monkeypatch.setattr(KnowledgeDistillation, "training_step", watch)
    for epochs in (0, 2):
        experiment.train(compose("method=kd", "teacher=tiny-bert", f"warmup_epochs={epochs}", "max_epochs=2"))
    assert len(seen) == 80
    assert seen[:40] == seen[40:]


def test_wandb_writes_offline_and_says_how_to_sync(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    for name in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "nowhere")
    said: list[str] = []
    monkeypatch.setattr(terminal, "say", said.append)
    result = experiment.train(compose("method=finetune", "student=tiny-bert", "max_epochs=1", "logger=wandb"))
    (folder,) = (result.folder / "wandb").glob("offline-run-*")
    assert list(folder.glob("*.wandb"))
    assert f"W&B wrote offline; to sync: wandb sync {folder}" in said


def test_a_wandb_key_without_a_network_ends_in_offline(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("kd_lab.tracking.SECONDS_TO_CONNECT", 2)
    wandb.teardown()  # a session of an earlier test would go by the variables as they were
    said: list[str] = []
    monkeypatch.setattr(terminal, "say", said.append)
    long = "student-" * 12
    settings = compose("method=finetune", "student=tiny-bert", "max_epochs=1", "logger=wandb")
    settings = settings.model_copy(update={"student": long, "models": {long: settings.models["tiny-bert"]}})
    result = experiment.train(settings)
    assert any("W&B cannot be reached" in line for line in said)
    assert any(line.startswith("W&B wrote offline; to sync: wandb sync") for line in said)
    assert list((result.folder / "wandb").glob("offline-run-*/*.wandb"))


def test_an_earlier_result_stays_until_the_next_is_whole(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("method=finetune", "student=tiny-bert", "max_epochs=1")
    first = experiment.train(compose(*words))

    def fail(*args: object) -> None:
        raise UserError("the loss became nan")

    monkeypatch.setattr("kd_lab.methods.finetune.Finetune.loss", fail)
    with pytest.raises(UserError):
        experiment.train(compose(*words, "force=true"))
    assert planning.plan(compose(*words)).finished() == first


def test_ctrl_c_in_a_notebook_is_a_keyboard_interrupt_and_works_again(
    compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kd_lab.distiller.Distiller.predict_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(compose("method=finetune", "student=tiny-bert", "max_epochs=1"))
    assert signal.getsignal(signal.SIGINT) is handler


def test_scores_are_counted_not_guessed() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    scores = evaluation.score(logits, torch.tensor([0, 0, 0]))
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.rows == 3


def test_train_takes_the_words_of_the_command_line(tmp_path: Path) -> None:
    import kd_lab

    words = ["experiment=smoke", "method=finetune", "student=tiny-bert", "max_epochs=1", f"output_dir={tmp_path}"]
    assert kd_lab.train(words).student.name == "tiny-bert"
    with pytest.raises(UserError, match="max_epochs=0"):
        kd_lab.train(["max_epochs=0"])
