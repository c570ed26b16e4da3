"""A plan of settings and seeds: carried out in order, gone on with, and said beforehand."""

import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from shell import kd_lab
from yaml import YAMLError

from kd_lab import locks, outcomes, sweeps, training
from kd_lab.errors import UserError
from kd_lab.planning import Plan, plan
from kd_lab.study import __main__ as study
from kd_lab.study import carrying, pace, plans

PLAN = """
words: experiment=smoke max_epochs=1 logger=csv
stages:
  first:
    seeds: [3, 4]
    rows:
      - method=finetune
      - method=finetune lr=1
  second:
    words: method=kd teacher_epochs=1
    seeds: [3]
    rows: [teacher_finetune_lr=1e-9]
"""


STAGES = ("mine-first", "other-first")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("study")
    (place / "mine.yml").write_text(PLAN, encoding="utf-8")
    return place


def carry_out(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return kd_lab("mine.yml", "data.rows=200", *words, folder=folder, door="study")


@pytest.fixture(scope="module")
def first(folder: Path) -> subprocess.CompletedProcess[str]:
    """The first stage."""
    return carry_out(folder, "stage=first")


def test_runs_come_seed_by_seed(first: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert first.returncode == 0, first.stderr
    order = [line for line in first.stdout.splitlines() if " of 4: " in line]
    rows = ["method=finetune seed=3", "method=finetune lr=1 seed=3", "method=finetune seed=4", "method=finetune lr=1"]
    assert all(f"{i} of 4: {row}" in line for i, (row, line) in enumerate(zip(rows, order, strict=True), 1))
    assert "left" not in order[0]
    assert all("about" in line and line.endswith("left") for line in order[1:])
    ended = outcomes.outcomes(folder / "outputs" / "sweeps" / "mine-first")
    assert [outcome.error for outcome in ended] == [None] * 4
    assert [outcome.result.seed for outcome in ended if outcome.result] == [3, 3, 4, 4]


def test_the_same_command_goes_on_and_a_failure_is_named_with_an_exit_code(
    first: subprocess.CompletedProcess[str], folder: Path
) -> None:
    done = carry_out(folder)
    assert done.returncode == 1
    assert done.stdout.count("found finished") == 4
    assert "5 of 5: teacher_finetune_lr=1e-9 seed=3" in done.stdout
    assert "mine-second" in done.stdout
    last = done.stderr.splitlines()[-1]
    assert "job 1 (experiment=smoke" in last
    assert "teacher tiny-bert has" in last


def test_what_is_kept_is_not_run_again_wherever_the_runs_are(
    first: subprocess.CompletedProcess[str], folder: Path, tmp_path: Path
) -> None:
    keep, place = f"keep={tmp_path / 'kept'}", f"output_dir={tmp_path / 'elsewhere'}"
    found = carry_out(folder, "stage=first", keep)
    assert found.stdout.count("found finished") == 4
    again = carry_out(folder, "stage=first", keep, place)
    assert again.returncode == 0, again.stderr
    assert "training" not in again.stdout + found.stdout
    ended = outcomes.outcomes(tmp_path / "elsewhere" / "sweeps" / "mine-first")
    assert {outcome.folder.parent for outcome in ended if outcome.folder} == {tmp_path / "kept" / "mine-first"}
    reported = kd_lab(str(tmp_path / "kept" / "mine-first"), folder=tmp_path, door="report")
    assert reported.returncode == 0, reported.stderr
    (folder / "other.yml").write_text(PLAN, encoding="utf-8")
    words = ("other.yml", "data.rows=200", "stage=first", keep, f"output_dir={tmp_path / 'third'}")
    taken_over = kd_lab(*words, folder=folder, door="study")
    assert "training" not in taken_over.stdout
    assert " left" not in taken_over.stdout, "what is kept takes no time"
    rows = [sorted(path.read_text("utf-8") for path in (tmp_path / "kept" / name).glob("*/row.txt")) for name in STAGES]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 4
    answers = [sorted(path.stem for path in (tmp_path / "kept" / name).glob("rows/*")) for name in STAGES]
    assert answers[0] == answers[1] != []
    lost = next((tmp_path / "kept" / STAGES[0]).glob("*/row.txt"))
    row = lost.read_text(encoding="utf-8")
    lost.unlink()
    assert "training" not in carry_out(folder, "stage=first", keep, place).stdout
    assert lost.read_text(encoding="utf-8") == row, "as after a process that ended between two files"
    more = carry_out(folder, "stage=first", keep, place, "data.rest=true")
    failed = set(re.findall(r"job (\d).*failed: data\.rest=true: the splits leave no row", more.stderr))
    assert len(failed) == 4, "what is kept lacks what is asked for now"


def test_a_run_that_another_process_is_at_work_on_comes_last(
    first: subprocess.CompletedProcess[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    busy = outcomes.outcomes(folder / "outputs" / "sweeps" / "mine-first")[0].folder
    assert busy
    monkeypatch.chdir(folder)
    jobs = list(plans.jobs("mine.yml", "first", ["data.rows=200"]))
    with ExitStack() as other:
        other.enter_context(locks.held(busy, "it"))
        assert [{place.resolve() for place in carrying.elsewhere(job)} for job in jobs] == [{busy}, set(), set(), set()]
        monkeypatch.setattr(carrying, "wait", lambda jobs: other.close())
        assert not study._run(jobs, None)
    said = capsys.readouterr().out.splitlines()
    order = [line.split(": ")[1].split(";")[0] for line in said if " of 4: " in line]
    assert order[-1] == "method=finetune seed=3"
    assert len(order) == 4
    assert sum("waiting for the first" in line for line in said) == 1
    assert not locks.taken(busy)


def test_nobody_waits_while_anything_is_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was passed over is passed over again, for as long as others are left."""
    monkeypatch.chdir(folder)
    jobs = list(plans.jobs("mine.yml", "first", ["data.rows=200"]))
    order: list[int] = []
    until = {0: 4, 1: 2}  # how many others are to be done before another process has finished with them

    def elsewhere(job: plans.Job) -> set[Path]:
        return {Path("busy")} if len(order) < until.get(job.number, 0) else set()

    def attempt(folder: Path, number: int, *rest: object, **more: object) -> str:
        order.append(number)
        return "made"

    def wait(jobs: Sequence[plans.Job]) -> None:
        assert [job.number for job in jobs] == [0]
        until.clear()

    monkeypatch.setattr(carrying, "elsewhere", elsewhere)
    monkeypatch.setattr(carrying, "wait", wait)
    monkeypatch.setattr(sweeps, "attempt", attempt)
    assert not study._run(jobs, None)
    assert order == [2, 3, 1, 0]
    assert not until, "what was left was waited for, not tried"


def test_who_has_to_wait_takes_the_first_that_comes_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All runs of a seed may wait for one teacher: when it is made, the next in order may be another's already."""
    monkeypatch.chdir(folder)
    jobs = list(plans.jobs("mine.yml", "first", ["data.rows=200"]))[:2]
    first, second = (next(iter(carrying._needed(job))) for job in jobs)
    pauses: list[float] = []
    with ExitStack() as one, ExitStack() as other:
        one.enter_context(locks.held(first, "it"))
        other.enter_context(locks.held(second, "it"))

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            assert len(pauses) < 4, "the second one is free"
            if len(pauses) == 3:
                other.close()

        monkeypatch.setattr(time, "sleep", sleep)
        carrying.wait(jobs)
        assert len(pauses) == 3
        assert carrying.elsewhere(jobs[0]) == {first}
        assert not carrying.elsewhere(jobs[1])


def test_of_two_that_start_at_once_one_takes_something_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both see a run free, one gets it: the other neither waits nor counts it as failed, and comes back to it."""
    monkeypatch.chdir(folder)
    jobs = list(plans.jobs("mine.yml", "first", ["data.rows=200", f"output_dir={folder / 'at-once'}"]))
    look, blind, order = carrying.elsewhere, [True], []
    monkeypatch.setattr(carrying, "elsewhere", lambda job: set() if blind and blind.pop() else look(job))
    with ExitStack() as other:

        def fit_and_test(run: Plan, *rest: object, **more: object) -> NoReturn:
            order.append((run.settings.seed, run.settings.lr))
            if len(order) == 2:
                other.close()
            raise UserError("it ends here")

        monkeypatch.setattr(training, "fit_and_test", fit_and_test)
        other.enter_context(locks.held(plan(jobs[0].settings).folder, "it"))
        assert study._run(jobs, None)
    said = capsys.readouterr()
    assert said.out.count("something else first") == 1
    assert "waiting for it" not in said.out
    assert said.err.count("failed: it ends here") == 4
    assert order == [(job.settings.seed, job.settings.lr) for job in (jobs[1], jobs[2], jobs[0], jobs[3])]


def test_the_commands_are_said_and_nothing_is_run(tmp_path: Path, folder: Path) -> None:
    done = kd_lab(
        str(folder / "mine.yml"), "list=true", "stage=second", "output_dir=my runs", folder=tmp_path, door="study"
    )
    words = "experiment=smoke max_epochs=1 logger=csv method=kd teacher_epochs=1 teacher_finetune_lr=1e-9"
    assert done.stdout == f"python -m kd_lab.run {words} 'output_dir=my runs' seed=3\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("plan", "words", "said"),
    [
        (None, [], "there is no plan {path}; name a file or one of"),
        (PLAN, ["stage=third"], "stage=third: the plan has first, second"),
        (PLAN, ["seed=1"], "seed=1: the plan says which seeds"),
        (PLAN, ["method.alfa=1"], "method.alfa"),
        (PLAN, ["page="], "page=: say what it should be, or leave it out"),
        (PLAN.replace("seeds: [3, 4]", "seeds: []"), [], "stages.first.seeds"),
        (PLAN.replace("seeds: [3, 4]", "seed: 3"), [], "stages.first.seeds must be set"),
        (PLAN.replace("lr=1", "lr=-1"), [], "lr=-1"),
        (
            PLAN.replace("lr=1", "lr=5e-3"),
            [],
            "mine-first: method=finetune lr=5e-3 has the settings of method=finetune",
        ),
        (PLAN.replace("seeds: [3]", "seeds: [3]\n    split: rest"), [], "teacher_finetune_lr=1e-9 is not tested on it"),
        (
            PLAN.replace("seeds: [3]", "seeds: [3]\n    split: validation\n    questions: {q: [lr=1, lr=1]}").replace(
                "[teacher_finetune_lr=1e-9]", "[lr=1]"
            ),
            [],
            "questions: validation chose the settings",
        ),
        ("stages: [", [], "while parsing"),
        ("", [], "is no plan: it should hold"),
        (PLAN.replace("seeds: [3, 4]", "seeds: [3]\n    colour: red"), [], "stages.first.colour=red: there is no such"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_before_anything_runs(
    plan: str | None, words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.yml"
    monkeypatch.chdir(tmp_path)
    if plan is not None:
        path.write_text(plan, encoding="utf-8")
    with pytest.raises((UserError, YAMLError), match=re.escape(said.format(path=path))):
        study.carry_out([str(path), *words])
    assert not (tmp_path / "outputs").exists()


def test_the_plan_of_the_protocol_is_one() -> None:
    plan = plans.read("sst2")
    jobs = list(plans.jobs("sst2", None, []))
    assert len(jobs) == sum(len(stage.seeds) * len(stage.rows) for stage in plan.stages.values())
    assert len({job.words for job in jobs}) == len(jobs)
    with pytest.raises(UserError, match="there is no plan sst3"):
        plans.read("sst3")


def test_what_is_left_is_told_by_what_it_took(folder: Path) -> None:
    short, other, *_ = plans.jobs(str(folder / "mine.yml"), "first", [])
    long = replace(other, settings=other.settings.model_copy(update={"max_epochs": 3}))
    assert pace.time_left([short, long], []) == ""
    assert pace.time_left([short, long], [(short, 20.0)]) == "60 s"
    assert pace.time_left([short, long], [(short, 20.0)], processes=2) == "30 s"
