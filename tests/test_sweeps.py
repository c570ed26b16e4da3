"""Sweeps: each job for itself, one table at the end."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from shell import kd_lab, wandb_reads

from kd_lab import composition, outcomes, planning, results, sweeps, terminal
from kd_lab.composition import CONF
from kd_lab.outcomes import Outcome, Sweep
from kd_lab.results import Result
from kd_lab.settings import Settings

STEP = "trainer/global_step"

QUICK = ("experiment=smoke", "teacher=tiny-bert", "max_epochs=1", "teacher_epochs=4", "warmup_epochs=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def sweep(folder: Path) -> subprocess.CompletedProcess[str]:
    """Two jobs that run and two that cannot, under variables of W&B that are meant for a single run."""
    one_run = {"WANDB_RUN_ID": "captured", "WANDB_NAME": "captured", "WANDB_SWEEP_ID": "captured"}
    (folder / "conf" / "noise").mkdir(parents=True)
    (folder / "conf" / "noise" / "broken.yaml").write_text("name: [", encoding="utf-8")
    words = ("method=kd,finetune", "method.temperature=3,-3", "noise=typos", "logger=wandb", "seed=1")
    environment = {"WANDB_MODE": "offline", "WANDB_PROJECT": "mine", "WANDB_TAGS": "a,b", **one_run}
    return kd_lab("-m", *QUICK, *words, folder=folder, **environment)


def test_ctrl_c_ends_the_sweep_and_is_no_outcome(tmp_path: Path) -> None:
    def interrupted() -> Result:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweeps.attempt(tmp_path, 0, ["seed=0"], interrupted, debug=False)
    assert outcomes.outcomes(tmp_path) == []


def test_a_failing_job_stops_no_other_and_is_named_at_the_end(
    sweep: subprocess.CompletedProcess[str], folder: Path
) -> None:
    assert sweep.returncode == 1
    assert "Traceback" not in sweep.stderr + sweep.stdout
    assert "sweep: 4 of 4 jobs done, 3 failed" in sweep.stdout
    assert "1 result" in sweep.stdout
    assert "left" in sweep.stdout
    last = sweep.stderr.strip().splitlines()[-3:]
    assert last[0].startswith(
        "kd_lab: job 2 (method=kd method.temperature=-3) failed: method.temperature=-3: should be"
    )
    assert last[1].startswith("kd_lab: job 3 (method=finetune method.temperature=3) failed: Could not override")
    (place,) = (folder / "outputs" / "sweeps").iterdir()
    assert [outcome.error is None for outcome in outcomes.outcomes(place)] == [True, False, False, False]


def test_every_run_of_a_sweep_is_a_run_of_its_own_in_wandb(
    sweep: subprocess.CompletedProcess[str], folder: Path
) -> None:
    runs = {path.name.split("_")[0]: wandb_reads(path) for path in (folder / "outputs").glob("*_seed1_*")}
    assert set(runs) == {"kd", "finetune"}
    distilled, teacher = runs["kd"], runs["finetune"]
    assert len({run["run_id"] for run in runs.values()} | {"captured"}) == 3
    assert (distilled["project"], teacher["project"]) == ("mine", "mine")
    assert distilled["name"] == "kd: tiny-bert → tiny-distilbert on toy, typos 0.2 noise, seed 1"
    assert teacher["name"] == "finetune: tiny-bert on toy, seed 1"
    assert (distilled["group"], teacher["group"]) == ("toy: tiny-bert → tiny-distilbert", "toy: tiny-bert")
    assert {"a", "b", "tiny-distilbert"} <= set(distilled["tags"])
    assert distilled["config"]["method.temperature"] == 3
    assert "method.temperature" not in teacher["config"]
    assert (distilled["config"]["noise.name"], teacher["config"]["noise.name"]) == ("typos", "none")
    assert all(not isinstance(value, dict) for value in distilled["config"].values())
    curves = {name: [item[name] for item in distilled["history"] if name in item] for name in ("train/loss", STEP)}
    assert len(curves["train/loss"]) > 1
    assert curves[STEP] == sorted(curves[STEP])


def test_wandbs_summary_holds_the_result_and_both_tables(sweep: subprocess.CompletedProcess[str], folder: Path) -> None:
    (path,) = (folder / "outputs").glob("kd_*_seed1_*")
    result, summary = results.read(path), wandb_reads(path)["summary"]
    assert result is not None
    assert summary["validation/accuracy"] == result.student.validation.accuracy
    assert summary["test/accuracy"] == result.student.test.accuracy
    assert summary["test/accuracy/typos 0.3"] == result.under_noise[-1].accuracy
    assert summary["result"]["nrows"] == 2
    (table,) = (path / "wandb").glob("offline-run-*/files/media/table/wrong*.json")
    wrong = json.loads(table.read_text(encoding="utf-8"))
    assert wrong["columns"] == ["row", "text", "label", "prediction", "probability", "teachers"]
    mistakes = round((1 - result.student.test.accuracy) * result.student.test.rows)
    assert len(wrong["data"]) == summary["wrong predictions"]["nrows"] == mistakes
    assert all(label != prediction for _, _, label, prediction, *_ in wrong["data"])


def test_the_same_sweep_finds_what_is_finished_and_a_file_that_is_no_yaml_fails_alone(
    sweep: subprocess.CompletedProcess[str], folder: Path
) -> None:
    words = ("method=kd", "method.temperature=3", "noise=broken,typos", "seed=1")
    again = kd_lab("-m", "--config-dir", "conf", *QUICK, *words, folder=folder)
    assert "training" not in again.stdout
    assert again.stdout.count("found finished") == 1
    assert "Traceback" not in again.stderr
    assert "job 1 (noise=broken) failed: while parsing" in again.stderr
    assert again.returncode == 1


@pytest.mark.slow
def test_a_search_draws_by_seed_and_prints_its_best_on_validation(tmp_path: Path) -> None:
    words = (
        "sweep=search",
        "method=kd",
        "search.draw=range(3)",
        "~search.ranges.lr",
        "lr=1e-2",
    )
    done = kd_lab("-m", *QUICK, *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (place,) = (tmp_path / "outputs" / "sweeps").iterdir()
    ended = outcomes.outcomes(place)
    judged = {" ".join(o.words): o.result.student.validation.accuracy for o in ended if o.result}
    assert len(judged) == 3
    best = max(judged, key=lambda words: judged[words])
    assert f"best of 3 on validation ({judged[best]:.2%})" in done.stdout
    assert f"python -m kd_lab.run {best}" in done.stdout
    for word in ("lr=0.01", "method.alpha=", "method.temperature="):
        assert word in best
    assert "inner_lr" not in best
    assert "search" not in best
    again = kd_lab(*best.split(), folder=tmp_path)
    assert "found finished" in again.stdout


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("experiment=glob(nothing-*)", "a sweep of no jobs: experiment=glob(nothing-*) matches nothing"),
        ("sweep=nothing", "Could not find 'sweep/nothing'"),
        ("output_dir=a,b", "output_dir cannot be swept"),
        ("output_dir=/dev/null/runs seed=0,1", "output_dir=/dev/null/runs: cannot be written"),
        ("seed=0,", "seed=0,"),
    ],
)
def test_a_sweep_of_nothing_is_an_error(word: str, said: str, tmp_path: Path) -> None:
    done = kd_lab("-m", *word.split(), folder=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert said in line


TABLE_1 = [
    ("finetune", "", "bert"),
    ("finetune", "", "roberta"),
    ("finetune", "", "distilbert"),
    ("finetune", "", "tinybert"),
    ("kd", "bert", "distilbert"),
    ("kd", "bert", "tinybert"),
    ("kd", "roberta", "distilbert"),
    ("metadistil", "bert", "distilbert"),
    ("metadistil", "bert", "tinybert"),
    ("metadistil", "roberta", "distilbert"),
    ("metadistil", "bert+roberta", "distilbert"),
    ("metadistil", "bert+bert", "distilbert"),
]


def rows_of(table: str) -> list[Settings]:
    (pattern,) = OmegaConf.load(CONF / "sweep" / f"{table}.yaml").hydra.sweeper.params.values()
    assert pattern == f"glob({table}-*)"
    names = sorted(path.stem for path in (CONF / "experiment").glob(f"{table}-*.yaml"))
    return [composition.settings_of([f"experiment={name}"]) for name in names]


def test_the_tables_of_the_slides_stand_row_by_row() -> None:
    rows = rows_of("table1")
    named = [(s.method.name, s.teacher if s.method.uses_teachers else "", s.student) for s in rows]
    assert named == TABLE_1
    assert {(s.data.name, s.data.holdout, s.data.train) for s in rows} == {("sst2", "row", 30_000)}
    assert {s.max_epochs for s in rows if s.student in {"distilbert", "tinybert"}} == {15}
    assert [(s.teacher, s.student, s.warmup_epochs) for s in rows_of("table2")] == [
        ("bert", "distilbert", 0),
        ("bert", "distilbert", 1),
    ]
    assert [(s.teacher, s.student, s.noise_in_words) for s in rows_of("table3")] == [
        ("bert", "tinybert", "none"),
        ("roberta", "distilbert", "none"),
        ("bert+bert", "distilbert", "word 0.2"),
        ("bert+roberta", "distilbert", "word 0.2"),
    ]


def test_a_fine_tuned_teacher_of_the_table_is_the_teacher_of_its_other_rows(compose: Callable[..., Settings]) -> None:

    words = ("models=tiny", "data=toy", "data.holdout=row")
    alone = planning.plan(compose(*words, experiment="table1-01-finetune-bert"))
    (teacher,) = planning.plan(compose(*words, experiment="table1-05-kd-bert-distilbert")).teachers
    assert isinstance(teacher, planning.Plan)
    assert teacher.fingerprint == alone.fingerprint


def test_the_ablation_is_the_whole_product() -> None:
    params = OmegaConf.load(CONF / "sweep" / "ablation.yaml").hydra.sweeper.params
    assert set(params) == {"method", "teacher", "noise", "warmup_epochs", "seed"}
    for name, values in params.items():
        for value in str(values).split(","):
            composition.settings_of([f"{name}={value}"])


def test_what_has_not_ended_is_said_and_counts_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(terminal, "complain", said.append)
    (tmp_path / outcomes.SWEEP).write_text(Sweep(jobs=3, started=0).model_dump_json(), encoding="utf-8")
    Outcome(number=0, words=["seed=0"], error="the loss became nan").write(tmp_path)
    Outcome(number=1, words=["seed=1"], folder=tmp_path / "gone").write(tmp_path)
    (tmp_path / outcomes.JOBS / "00002.json").write_text('{"number": 2', encoding="utf-8")
    assert sweeps.show(tmp_path)
    assert said == [
        "job 1 (seed=0) failed: the loss became nan",
        f"job 2 (seed=1) failed: {tmp_path / 'gone'} holds no readable result",
        "1 of 3 jobs have not ended; the same command goes on",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"), [(40, "40 s"), (420, "7 min"), (7500, "2 h 5 min"), (89, "89 s"), (91, "2 min")]
)
def test_durations_can_be_read(seconds: float, said: str) -> None:
    assert terminal.duration(seconds) == said


def test_stand_ins_are_marked_wherever_they_show(compose: Callable[..., Settings]) -> None:
    from kd_lab import experiment

    s = compose("models=tiny", "method=kd", "teacher=bert+roberta", "student=distilbert", "max_epochs=1")
    result: Result = experiment.train(s)
    assert [teacher.name for teacher in result.teachers] == ["tiny-bert for bert", "tiny-roberta for roberta"]
    assert result.student.name == "tiny-distilbert for distilbert"
    assert result.name.startswith("kd: tiny-bert for bert + tiny-roberta for roberta → tiny-distilbert for distilbert")
    assert "tiny-bert-for-bert" in result.folder.name
    for name in ("bert", "roberta", "distilbert"):
        assert f"a stand-in was used for {name}: the figures say nothing about {name}" in result.warnings
