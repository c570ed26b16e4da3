"""What was interrupted goes on where it was, bit for bit, and damaged checkpoints are told from sound ones."""

import errno
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_lab import checkpoints, experiment, locks, planning, terminal
from kd_lab.checkpoints import Files
from kd_lab.distiller import Distiller
from kd_lab.errors import Interrupted, UserError
from kd_lab.results import Result
from kd_lab.settings import Settings
from kd_lab.stopping import StopRequest

Compose = Callable[..., Settings]
SHORT = ("logger=csv", "trainer.log_every_n_steps=3")
RUN = {"fingerprint": "a", "versions": {"torch": "1"}}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(terminal, "say", lines.append)
    return lines


def content(result: Result) -> dict[str, str]:
    """A digest of every file, and the result without its seconds."""
    paths = [path for path in sorted(result.folder.rglob("*")) if path.is_file()]
    compared = [path for path in paths if path.name not in {"config.yaml", "result.json"}]
    digests = {str(p.relative_to(result.folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in compared}
    return digests | {"result": result.without_times().model_dump_json()}


def interrupted(monkeypatch: pytest.MonkeyPatch, train: Callable[[], Result], *after: int) -> Result:
    """The result of a run that gets SIGTERM in its ``after``-th step, counted anew from each start."""
    original = Distiller.on_train_batch_start
    for steps in after:
        counted = iter(range(steps))

        def cut(self, batch, index, counted=counted):  # type: ignore[no-untyped-def]
            if next(counted, None) is None:
                os.kill(os.getpid(), signal.SIGTERM)
                self.trainer.log_every_n_steps  # noqa: B018  (the handler runs between two bytecodes)
            original(self, batch, index)

        with monkeypatch.context() as patch:
            patch.setattr(Distiller, "on_train_batch_start", cut)
            with pytest.raises(Interrupted, match=r"step \d+ of \d+ is saved; the same command goes on") as caught:
                train()
            assert caught.value.signal == signal.SIGTERM
    return train()


@pytest.mark.parametrize(
    ("words", "after"),
    [
        (("method=finetune", "student=tiny-bert", "patience=2"), (3, 9)),
        (("method=kd", "teacher=tiny-bert", "noise=typos"), (15, 12)),
        (("method=metadistil", "noise=word", "method.teacher_every=2", "max_epochs=3"), (25, 19)),
    ],
)
def test_a_run_goes_on_as_if_nothing_had_been(
    words: tuple[str, ...],
    after: tuple[int, ...],
    compose: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    whole = experiment.train(compose(*SHORT, *words))
    # The teachers are there already: what is interrupted is the run itself.
    whole.folder.rename(tmp_path / "whole")
    again = interrupted(monkeypatch, lambda: experiment.train(compose(*SHORT, *words)), *after)
    assert content(again) == content(whole.model_copy(update={"folder": tmp_path / "whole"}))
    assert sum(line.startswith("going on from step") for line in said) == len(after)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not list(again.folder.rglob("*.ckpt"))


@pytest.mark.parametrize("place", ["kd_lab.evaluation.under_noise", "kd_lab.tracking.show"])
def test_what_is_interrupted_after_its_training_trains_hardly_anything_again(
    place: str, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    words = (*SHORT, "method=finetune", "student=tiny-bert", "max_epochs=2", "trainer.checkpoint_minutes=0")
    whole = experiment.train(compose(*words))
    path = tmp_path / "again"

    def stop(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, stop)
        with pytest.raises(KeyboardInterrupt):
            experiment.train(compose(*words, f"output_dir={path}"))
    again = experiment.train(compose(*words, f"output_dir={path}"))
    assert f"going on from step {whole.steps - 1}" in said
    assert content(again) == content(whole)
    assert not (again.folder / "checkpoints").exists()


def test_sigterm_in_an_evaluation_is_not_lost(
    compose: Compose, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    words = compose(*SHORT, "method=finetune", "student=tiny-bert", "max_epochs=2", "trainer.checkpoint_minutes=0")
    original = Distiller.predict_step

    def told(self, batch, index):  # type: ignore[no-untyped-def]
        os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(Distiller, "predict_step", told)
        with pytest.raises(Interrupted, match="goes on") as caught:
            experiment.train(words)
    assert caught.value.signal == signal.SIGTERM
    assert experiment.train(words).steps == 40
    assert "going on from step 39" in said


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one processor
def test_the_same_command_twice_and_two_workers_give_the_same_bits(compose: Compose) -> None:
    words = (*SHORT, "noise=vocabulary", "max_epochs=1")
    first = experiment.train(compose(*words))
    kept = content(first)
    assert content(experiment.train(compose(*words, "force=true"))) == kept
    assert content(experiment.train(compose(*words, "force=true", "trainer.workers=2"))) == kept


@pytest.mark.slow
def test_checkpoints_hold_teachers_that_move_and_no_others(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kd_lab.training.shutil.rmtree", lambda *args, **options: None)
    for words, moved in ((("method=kd", "warmup_epochs=0"), False), (("method=metadistil", "warmup_epochs=0"), True)):
        result = experiment.train(compose(*SHORT, *words, "max_epochs=1", "trainer.checkpoint_minutes=0"))
        kept = sorted((result.folder / "checkpoints").glob("*.ckpt"))
        assert [path.stem for path in kept] == ["2-fit-000000018", "2-fit-000000019"]
        state = torch.load(kept[-1], weights_only=True)
        assert any(name.startswith("teachers.") for name in state["state_dict"]) == moved
        assert len(state["optimizer_states"]) == 1 + moved


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(
    compose: Compose, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    words = ("method=finetune", "student=tiny-bert", "max_epochs=1", "trainer.checkpoint_minutes=0")
    writer = "PytorchStreamWriter failed writing file data/0: file write failed"
    for error in (OSError(errno.ENOSPC, "No space left on device"), RuntimeError(writer)):

        def full(*args: object, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("kd_lab.checkpoints.torch.save", full)
            result = experiment.train(compose(*SHORT, *words, "force=true"))
        assert result.steps == 20
        assert any("no checkpoint can be written" in line and str(error) in line for line in said)


def test_the_second_signal_ends_the_run_at_once(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(self, batch):  # type: ignore[no-untyped-def]
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("still running")

    monkeypatch.setattr("kd_lab.methods.finetune.Finetune.loss", twice)
    with pytest.raises(KeyboardInterrupt) as caught:
        experiment.train(compose(*SHORT, "method=finetune", "student=tiny-bert"))
    assert not isinstance(caught.value, Interrupted)


def write(folder: Path, step: int) -> Path:
    """A sound checkpoint without a trainer: its two files as Checkpoints writes them."""
    folder.mkdir(exist_ok=True)
    stem = folder / f"2-fit-{step:09}"
    Files().save_checkpoint({"step": torch.tensor(step), "weights": torch.randn(100)}, stem.with_suffix(".ckpt"))
    digest = hashlib.sha256(stem.with_suffix(".ckpt").read_bytes()).hexdigest()
    about = {"sha256": digest, "stage": "2-fit", "run": RUN}
    stem.with_suffix(".json").write_text(json.dumps(about), encoding="utf-8")
    return stem


DAMAGES: dict[str, Callable[[Path, random.Random], object]] = {
    "truncated": lambda path, draw: os.truncate(path, draw.randrange(1, path.stat().st_size)),
    "emptied": lambda path, draw: os.truncate(path, 0),
    "flipped": lambda path, draw: path.write_bytes(flipped(path.read_bytes(), draw)),
    "missing": lambda path, draw: path.unlink(),
    "a folder": lambda path, draw: path.unlink() or path.mkdir(),  # type: ignore[func-returns-value]
}


def flipped(content: bytes, draw: random.Random) -> bytes:
    """One bit of it is another."""
    place, changed = draw.randrange(len(content)), bytearray(content)
    changed[place] ^= 1 << draw.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [".ckpt", ".json"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    damage: str, suffix: str, tmp_path: Path, said: list[str]
) -> None:
    for number in range(5):
        draw = random.Random(number)
        before, last = write(tmp_path / str(number), 7), write(tmp_path / str(number), 12)
        DAMAGES[damage](last.with_suffix(suffix), draw)
        said.clear()
        place = checkpoints.newest(tmp_path / str(number), RUN)
        assert place == ("2-fit", before.with_suffix(".ckpt")), draw
        assert [str(last) in line and "is damaged" in line for line in said] == [True]
        assert Files().load_checkpoint(place.path)["step"] == 7


def test_no_bit_of_what_is_said_of_a_checkpoint_may_be_another(tmp_path: Path, said: list[str]) -> None:
    last = write(tmp_path, 12)
    weights, about = (last.with_suffix(suffix).read_bytes() for suffix in (".ckpt", ".json"))
    for bit in range(8 * len(about)):
        changed = bytearray(about)
        changed[bit // 8] ^= 1 << bit % 8
        last.with_suffix(".ckpt").write_bytes(weights)
        last.with_suffix(".json").write_bytes(changed)
        assert checkpoints.newest(tmp_path, RUN) is None, bytes(changed)


def test_the_seconds_before_an_interruption_count(tmp_path: Path) -> None:
    def kept(started: float) -> Any:
        return checkpoints.Checkpoints(tmp_path, "2-fit", RUN, 1, StopRequest(), started)

    trainer: Any = SimpleNamespace(loggers=[])
    progress = {"total": {"completed": 5}, "current": {"completed": 5}}
    checkpoint: dict[str, Any] = {"loops": {"fit_loop": {"epoch_loop.batch_progress": progress}}, "global_step": 5}
    kept(time.monotonic() - 100).on_save_checkpoint(trainer, trainer, checkpoint)
    goes_on = kept(time.monotonic())
    goes_on.on_load_checkpoint(trainer, trainer, checkpoint)
    assert time.monotonic() - goes_on.started == pytest.approx(100, abs=10)


def test_a_checkpoint_of_other_versions_is_not_gone_on_with(tmp_path: Path, said: list[str]) -> None:
    write(tmp_path / "a", 7)
    assert checkpoints.newest(tmp_path / "a", {**RUN, "versions": {"torch": "2"}}) is None
    assert "another version" in said[0]


def test_later_stages_and_steps_come_first(tmp_path: Path) -> None:
    for name, stage in (("2-fit-000000005", "2-fit"), ("1-warm-up-000000090", "1-warm-up")):
        stem = write(tmp_path, 1)
        about = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8")) | {"stage": stage}
        stem.with_suffix(".json").write_text(json.dumps(about), encoding="utf-8")
        for suffix in (".ckpt", ".json"):
            stem.with_suffix(suffix).rename(tmp_path / f"{name}{suffix}")
    assert checkpoints.newest(tmp_path, RUN) == ("2-fit", tmp_path / "2-fit-000000005.ckpt")


def test_wandb_goes_on_with_the_same_run(compose: Compose, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    words = ("logger=wandb", "method=finetune", "student=tiny-bert", "max_epochs=1")
    result = interrupted(monkeypatch, lambda: experiment.train(compose(*words)), 5)
    runs = list((result.folder / "wandb").glob("offline-run-*"))
    # Two starts in the same second get "-1" behind the id.
    assert len({re.fullmatch(r"offline-run-\d+_\d+-(\w+?)(-\d+)?", run.name)[1] for run in runs}) == 1  # type: ignore[index]
    assert len(runs) > 1


HOLDER = """
import sys, time
from pathlib import Path
from kd_lab import locks
with locks.held(Path(sys.argv[1]), "a run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_waited_for_and_goes_with_the_process_that_held_it(tmp_path: Path, said: list[str]) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        # It is killed while this process waits, as soon as it has said that it waits.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(terminal, "say", lambda line: said.append(line) or other.kill())  # type: ignore[func-returns-value]
            with locks.held(tmp_path / "run", "a run"):
                assert other.wait(10) == -signal.SIGKILL
        assert said == ["another process is at work on a run: waiting for it"]
    with locks.held(tmp_path / "run", "a run"):
        pass
    assert len(said) == 1


def test_one_of_several_processes_does_not_wait(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others would begin without it, and then wait for it for a day."""
    words = compose(*SHORT, "method=finetune", "student=tiny-bert")
    command = [sys.executable, "-c", HOLDER, str(planning.plan(words).folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(UserError, match="is at work on finetune: tiny-bert on toy"):
            experiment.train(words)
        other.kill()


def test_a_run_that_another_process_finished_meanwhile_is_found(
    compose: Compose, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    words = (*SHORT, "method=finetune", "student=tiny-bert", "max_epochs=1")
    first = experiment.train(compose(*words))
    kept, answers = first.folder.rename(first.folder.with_name("kept")), iter([False])
    original = locks.held

    def meanwhile(folder: Path, title: str, **waiting: bool):  # type: ignore[no-untyped-def]
        if next(answers, None) is not None:
            kept.rename(first.folder)
        return original(folder, title, **waiting)

    monkeypatch.setattr(locks, "held", meanwhile)
    said.clear()
    assert experiment.train(compose(*words)).seconds == first.seconds
    assert not any(line.startswith("training") for line in said)
