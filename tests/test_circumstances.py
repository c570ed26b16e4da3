"""Bad circumstances of disks, folders, caches and clocks: it goes well, or one line says what to do.

Nothing half-written or damaged is ever trusted.
"""

import errno
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch

import kd_lab
from kd_lab import (
    catalogue,
    composition,
    doors,
    downloads,
    evaluate,
    experiment,
    files,
    outcomes,
    planning,
    results,
    sources,
    sweeps,
    tensor_cache,
)
from kd_lab.finished import data_of
from kd_lab.origins import Origin
from kd_lab.outcomes import Outcome, Sweep
from kd_lab.results import Result
from kd_lab.settings import Settings

QUICK = ("method=finetune", "student=tiny-bert", "max_epochs=1", "data.rows=120")
DISTIL = ("experiment=smoke", "method=kd", "teacher=tiny-bert", "max_epochs=1", "warmup_epochs=0")
UNLIMITED = resource.RLIM_INFINITY

_trap: list[tuple[str, int]] = []


def _disk(event: str, arguments: tuple[Any, ...]) -> None:
    """From the moment that a file of such a name is opened for writing, the kernel lets no file grow beyond a size."""
    if event == "open" and _trap and isinstance(arguments[0], str | Path) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        pattern, size = _trap[0]
        if fnmatch(str(arguments[0]), pattern):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, UNLIMITED))


sys.addaudithook(_disk)


@contextmanager
def full_from(pattern: str, size: int = 20) -> Iterator[None]:
    """A disk that is full from a file's name on; the errors are the kernel's own."""
    _trap.append((pattern, size))
    try:
        yield
    finally:
        _trap.clear()
        resource.setrlimit(resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))


@contextmanager
def full(size: int = 20) -> Iterator[None]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, UNLIMITED))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))


@pytest.fixture
def ends(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a door says on standard error where it ends with an exit code: one line."""

    def act(work: Callable[[], object], code: int = 2) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended, doors.one_line_errors():
            work()
        assert ended.value.code == code
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("kd_lab: ")
        return line

    return act


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A distilled student, and beside it the run of its teacher."""
    folder = tmp_path_factory.mktemp("finished")
    return kd_lab.train([*DISTIL, f"output_dir={folder}", "trainer.enable_progress_bar=false"])


@pytest.fixture
def copy(finished: Result, tmp_path: Path) -> Path:
    """A copy of the finished run's folder, to be damaged; its teacher's run lies beside it."""
    shutil.copytree(finished.folder.parent, tmp_path / "outputs")
    return tmp_path / "outputs" / finished.folder.name


@pytest.fixture(scope="module")
def question(finished: Result, tmp_path_factory: pytest.TempPathFactory) -> evaluate.Question:
    return evaluate.ask([str(finished.folder), f"output_dir={tmp_path_factory.mktemp('asked')}"])


def teacher_of(copy: Path) -> Path:
    (folder,) = copy.parent.glob("finetune_*")
    return folder


def trusted(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if results.read(path) and not path.name.endswith(".unfinished")]


# A disk that is full


@pytest.mark.parametrize(
    ("file", "size"),
    [
        ("*/metrics.csv", 20),
        ("*/student/config.json", 2000),  # it fits; the weights after it do not
        ("*/predictions/test.csv", 20),
        ("*/splits.json", 20),
        ("*/config.yaml", 20),
        ("*/result.json*", 20),
    ],
)
def test_a_disk_that_fills_up_ends_a_run_in_one_line_and_the_same_command_works_later(
    file: str, size: int, compose: Callable[..., Settings], ends: Callable[..., str], tmp_path: Path
) -> None:
    s = compose(*QUICK)
    with full_from(file, size):
        line = ends(lambda: experiment.train(s))
    assert "too large" in line
    assert trusted(tmp_path / "outputs") == []
    assert experiment.train(s).folder.is_dir()
    assert len(trusted(tmp_path / "outputs")) == 1


def test_a_full_disk_costs_the_cache_nothing_but_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path))
    made = {"a": torch.arange(500)}
    with full():
        assert tensor_cache.cached("things", {"of": 1}, lambda: made)["a"].sum() == made["a"].sum()
        tensor_cache.cached("things", {"of": 2}, lambda: made)
    assert capsys.readouterr().out.count("too large") == 1
    assert list((tmp_path / "things").iterdir()) == []


def test_a_full_disk_leaves_no_half_evaluation(
    question: evaluate.Question, ends: Callable[..., str], tmp_path: Path
) -> None:
    elsewhere = question.settings.model_copy(update={"output_dir": tmp_path})
    with full_from("*/evaluations/*"):
        assert "too large; allow larger files" in ends(lambda: evaluate.answer(replace(question, settings=elsewhere)))
    assert list((tmp_path / "evaluations").iterdir()) == []


@pytest.mark.parametrize("size", [20, 2000], ids=["its configuration", "its weights"])
def test_a_full_disk_while_a_tiny_model_is_made_names_the_cache(
    size: int,
    compose: Callable[..., Settings],
    ends: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s = compose(*QUICK)
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path / "cache"))
    with full(size):
        assert f"the cache {tmp_path / 'cache'} cannot be written" in ends(lambda: experiment.train(s))
    assert list((tmp_path / "cache" / "random").iterdir()) == []


def sweep_on_a_full_disk(folder: Path, file: str) -> subprocess.CompletedProcess[str]:
    """Two jobs that are refused before anything is trained, on a disk that is full whenever ``file`` is opened."""
    code = f"""
import fnmatch, os, resource, runpy, sys
def disk(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        size = 20 if fnmatch.fnmatch(str(arguments[0]), {file!r}) else -1
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))
sys.addaudithook(disk)
runpy.run_module("kd_lab.run", run_name="__main__")
"""
    command = [sys.executable, "-c", code, "-m", "experiment=smoke", "student=bort,bart"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("file", "said"), [("*/sweep.json*", "output_dir=outputs: the sweep's folder"), ("*/multirun.yaml", "too large")]
)
def test_a_sweep_that_cannot_be_noted_is_refused_in_one_line(file: str, said: str, tmp_path: Path) -> None:
    done = sweep_on_a_full_disk(tmp_path, file)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line
    assert "too large" in line


def test_a_sweep_goes_on_where_an_outcome_cannot_be_kept(tmp_path: Path) -> None:
    done = sweep_on_a_full_disk(tmp_path, "*/jobs/*")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert all(f"the outcome of job {number} cannot be kept in" in done.stderr for number in (1, 2))
    assert done.stderr.splitlines()[-1] == "kd_lab: 2 of 2 jobs have not ended; the same command goes on"
    (place,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert list((place / "jobs").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "No space left on device; free some space in output_dir, KD_LAB_CACHE or TMPDIR, and run again"),
        (errno.EROFS, "Read-only file system; choose a place that can be written"),
        (errno.EMFILE, "Too many open files; allow more open files (ulimit -n), and run again"),
        (errno.EIO, "Input/output error; debug=true shows where"),
    ],
)
def test_an_error_of_the_system_is_one_line_with_advice(number: int, said: str, ends: Callable[..., str]) -> None:
    def act() -> None:
        raise OSError(number, os.strerror(number), "/place/file")

    assert ends(act) == f"kd_lab: /place/file: {said}"


# Places that cannot be written


def bad_place(kind: str, folder: Path) -> str:
    place = folder / "place"
    if kind == "a file":
        place.write_text("mine", encoding="utf-8")
    elif kind == "a dangling link":
        place.symlink_to(folder / "nowhere")
    elif kind == "a link to itself":
        place.symlink_to(place)
    elif kind == "below a file":
        place.write_text("mine", encoding="utf-8")
        place = place / "a" / "b"
    return {"too long a name": str(folder / ("n" * 300)), "/proc": "/proc/kd_lab"}.get(kind, str(place))


@pytest.mark.parametrize(
    "kind", ["a file", "a dangling link", "a link to itself", "below a file", "too long a name", "/proc"]
)
def test_an_output_folder_that_cannot_be_is_refused_before_torch(
    kind: str, compose: Callable[..., Settings], ends: Callable[..., str], tmp_path: Path, finished: Result
) -> None:
    """Permission bits would say nothing to root; these refuse everybody."""
    place = bad_place(kind, tmp_path)
    s = compose(*QUICK).model_copy(update={"output_dir": Path(place)})
    assert f"output_dir={place}: cannot be written (" in ends(lambda: experiment.train(s))
    asked = ends(lambda: evaluate.ask([str(finished.folder), f"output_dir={place}"]))
    assert f"output_dir={place}: cannot be written (" in asked


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_folder_in_which_nothing_can_be_made_is_refused_before_training(
    number: int,
    compose: Callable[..., Settings],
    ends: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    s = compose(*QUICK)
    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)  # type: ignore[attr-defined]
    assert f"cannot be written ({os.strerror(number)})" in ends(lambda: experiment.train(s))
    assert not (tmp_path / "outputs").exists()


def test_a_model_with_a_name_of_many_bytes_gives_a_folder_that_file_systems_take(
    compose: Callable[..., Settings], finished: Result, tmp_path: Path
) -> None:
    """Eighty signs of three bytes each: within what a name may have alone, beyond it with what a run adds."""
    name = "模" * 80
    shutil.copytree(teacher_of(finished.folder) / "student", tmp_path / name)
    s = compose(*QUICK).model_copy(update={"student": str(tmp_path / name)})
    result = experiment.train(s)
    assert "模" in result.folder.name
    assert f"student {name} was trained elsewhere: it may have seen the quiz and test rows" in result.warnings
    evaluate.answer(evaluate.ask([str(tmp_path / name), "data=toy", f"output_dir={tmp_path}"]))
    assert len(list((tmp_path / "evaluations").iterdir())) == 1


# The cache


@pytest.mark.parametrize("kind", ["a file", "/proc", "a link to itself"])
def test_a_cache_that_cannot_be_written_is_named(
    kind: str,
    compose: Callable[..., Settings],
    ends: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s, place = compose(*QUICK), bad_place(kind, tmp_path)
    monkeypatch.setenv("KD_LAB_CACHE", place)
    line = ends(lambda: experiment.train(s))
    assert f"the cache {place} cannot be written (" in line
    assert "set KD_LAB_CACHE to a folder that can" in line
    assert not (tmp_path / "outputs").exists()
    assert place in ends(lambda: downloads.from_pip("thing==1", "0" * 64))


def test_evaluating_goes_well_with_a_cache_that_cannot_be_written(
    finished: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", "/proc/kd_lab")
    tensor_cache._say_once.cache_clear()
    evaluate.answer(evaluate.ask([str(finished.folder), f"output_dir={tmp_path}"]))
    said = capsys.readouterr()
    assert said.out.count("warning: /proc/kd_lab/encodings cannot be written") == 1
    assert f"accuracy {finished.student.test.accuracy:.2%}" in said.out
    assert said.err == ""


def test_a_tiny_models_folder_that_was_emptied_is_made_anew(
    compose: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = compose(*QUICK)
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path / "cache"))
    first = catalogue.locate("tiny-bert", s.models)
    identity = first.identity()
    for path in first.folder.iterdir():
        path.unlink()
    assert catalogue.locate("tiny-bert", s.models).identity() == identity


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    os.utime(path, (2**31, 2**31))  # some systems' clocks of files stand still between the two writings


def packaged(folder: Path) -> tuple[Origin, Path]:
    """A model out of a package that lies in the cache already."""
    right = hashlib.sha256(b"a model's weights").hexdigest()
    kept = folder / "models" / ("1" * 64) / "thing"
    kept.mkdir(parents=True)
    for name, content in (
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("model.safetensors", b"a model's weights"),
    ):
        (kept / name).write_bytes(content)
    return Origin(package="thing==1", package_sha256="1" * 64, folder="thing", weights_sha256=right), kept


@pytest.mark.parametrize("how", ["flipped", "truncated", "missing"])
def test_downloaded_weights_that_were_damaged_are_refused(
    how: str, ends: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path))
    origin, kept = packaged(tmp_path)
    assert catalogue.locate("thing", {"thing": origin}).folder == kept
    weights = kept / "model.safetensors"
    if how == "flipped":
        flipped(weights)
    elif how == "truncated":
        weights.write_bytes(weights.read_bytes()[:5])
    else:
        weights.unlink()
    line = ends(lambda: catalogue.locate("thing", {"thing": origin}))
    assert line == f"kd_lab: {kept} is damaged: delete it and run again"


def test_a_packages_folder_that_was_emptied_is_filled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path))
    digest = hashlib.sha256(b"archive").hexdigest()
    kept = tmp_path / "packages" / digest
    kept.mkdir(parents=True)

    def pip(requirement: str, options: list[str]) -> None:
        arrived = Path(options[options.index("--dest") + 1])
        arrived.mkdir()
        (arrived / "thing.whl").write_bytes(b"archive")

    monkeypatch.setattr(downloads, "_pip_download", pip)
    assert downloads.from_pip("thing==1", digest) == kept / "thing.whl"
    assert downloads.from_pip("thing==1", digest).read_bytes() == b"archive"


@pytest.mark.parametrize("how", ["truncated", "emptied", "flipped", "a folder"])
def test_a_cached_file_that_was_damaged_is_made_anew(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path))
    made = {"a": torch.arange(500)}

    def keep() -> dict[str, torch.Tensor]:
        return tensor_cache.cached("things", {"of": 1}, lambda: made)

    keep()
    (path,) = (tmp_path / "things").iterdir()
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "flipped":
        flipped(path)
    else:
        path.unlink()
        path.mkdir()
    assert torch.equal(keep()["a"], made["a"])


# Folders of runs, damaged or of another version


@pytest.mark.parametrize("how", ["missing", "truncated", "empty", "a folder", "binary", "older schema", "a field less"])
def test_a_result_that_cannot_be_read_is_none_and_the_run_happens_anew(
    how: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kd_lab import training

    asked: list[str] = []

    def fit(run: planning.Plan, *args: object, **options: object) -> str:
        asked.append(run.folder.name)
        return "anew"

    monkeypatch.setattr(training, "fit_and_test", fit)
    words = [*DISTIL, f"output_dir={copy.parent}"]
    path, teacher = copy / "result.json", teacher_of(copy)
    written = json.loads(path.read_text(encoding="utf-8"))
    if how in {"missing", "a folder"}:
        path.unlink()
        if how == "a folder":
            path.mkdir()
    else:
        written["schema"] -= how == "older schema"
        if how == "a field less":
            del written["student"]
        whole = json.dumps(written).encode()
        path.write_bytes({"truncated": whole[:-30], "empty": b"", "binary": b"\xff\0" * 40}.get(how, whole))
    assert kd_lab.train(words) == "anew"  # type: ignore[comparison-overlap]
    assert asked == [copy.name]
    assert teacher.is_dir()


def test_a_result_with_fields_of_a_newer_version_is_still_found(copy: Path) -> None:
    path = copy / "result.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["of_tomorrow"] = {"a": [1]}
    written["student"]["calibration"] = 0.1
    path.write_text(json.dumps(written), encoding="utf-8")
    assert kd_lab.train([*DISTIL, f"output_dir={copy.parent}"]).seconds == written["seconds"]


def test_the_folders_of_another_version_are_left_alone(compose: Callable[..., Settings]) -> None:
    s = compose(*QUICK)
    ours = planning.plan(s).folder
    theirs = ours.with_name(f"{ours.name[:-8]}01234567")
    theirs.mkdir(parents=True)
    (theirs / "result.json").write_text('{"schema": 1, "name": "the same run"}', encoding="utf-8")
    assert experiment.train(s).folder == ours
    assert (theirs / "result.json").read_text(encoding="utf-8") == '{"schema": 1, "name": "the same run"}'


def test_two_runs_whose_names_begin_alike_are_told_apart_by_the_whole_fingerprint(copy: Path) -> None:
    """The folder carries eight digits of it: another run with the same eight is not taken for this one."""
    path = copy / "result.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["fingerprint"] = written["fingerprint"][:8] + "0" * 56
    path.write_text(json.dumps(written), encoding="utf-8")
    s = composition.settings_of([*DISTIL, f"output_dir={copy.parent}"])
    assert planning.plan(s).folder == copy
    assert planning.plan(s).finished() is None


def damage(how: str, folder: Path) -> None:
    weights = folder / "model.safetensors"
    if how == "flipped weights":
        flipped(weights)
    elif how == "truncated weights":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif how == "an empty folder":
        for path in folder.iterdir():
            path.unlink()
    elif how == "no folder":
        shutil.rmtree(folder)
    elif how == "another tokenizer":
        path = folder / "tokenizer.json"
        path.write_text(path.read_text(encoding="utf-8").replace('"film"', '"flim"'), encoding="utf-8")
    elif how == "a configuration that is a list":
        (folder / "config.json").write_text("[]", encoding="utf-8")


DAMAGES = [
    "flipped weights",
    "truncated weights",
    "an empty folder",
    "no folder",
    "another tokenizer",
    "a configuration that is a list",
]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_finished_teacher_that_was_damaged_teaches_nobody(how: str, copy: Path, ends: Callable[..., str]) -> None:
    teacher = teacher_of(copy)
    damage(how, teacher / "student")
    before = sorted(path.name for path in copy.parent.iterdir())
    line = ends(lambda: kd_lab.train([*DISTIL, "seed=0", "lr=1e-3", f"output_dir={copy.parent}"]))
    assert f"is not what its run wrote there; delete {teacher} and run again" in line
    assert sorted(path.name for path in copy.parent.iterdir()) == before


@pytest.mark.parametrize("how", DAMAGES)
def test_a_finished_student_that_was_damaged_is_not_evaluated(
    how: str, copy: Path, ends: Callable[..., str], tmp_path: Path
) -> None:
    damage(how, copy / "student")
    line = ends(lambda: evaluate.ask([str(copy), f"output_dir={tmp_path / 'out'}"]))
    assert f"is not what its run wrote there; delete {copy} and run again" in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "holds no model (config.json holds no settings)"),
        ('{"architectures": ["BertForSequenceClassification"], "id2label": {"a": "b"}}', "id2label should number"),
        ('{"architectures": ["BertForSequenceClassification"], "id2label": [1]}', "id2label should number"),
    ],
)
def test_a_model_from_elsewhere_with_a_garbled_configuration_is_refused(
    content: str, said: str, finished: Result, ends: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(finished.folder / "student", folder)
    (folder / "config.json").write_text(content, encoding="utf-8")
    assert said in ends(lambda: evaluate.ask([str(folder), "data=toy", f"output_dir={tmp_path}"]))


def test_a_teacher_that_is_asked_for_its_own_result_is_tested_only_as_it_was_written(
    copy: Path, ends: Callable[..., str]
) -> None:
    teacher = teacher_of(copy)
    flipped(teacher / "student" / "model.safetensors")
    own = ["experiment=smoke", "method=finetune", "student=tiny-bert", "max_epochs=4", f"output_dir={copy.parent}"]
    assert "is not what its run wrote" in ends(lambda: kd_lab.train(own))
    found = results.read(teacher)
    assert found is not None
    assert found.under_noise == []


@pytest.mark.parametrize(
    "content", [None, b"data: [", b"- a\n- list\n", b"\xff\xfe\0", b"", b"data: {name: imdb}\n", b"data: ${x}\n"]
)
def test_a_run_without_a_readable_configuration_needs_to_be_told_its_data(
    content: bytes | None, copy: Path, ends: Callable[..., str], question: evaluate.Question
) -> None:
    path = copy / "config.yaml"
    path.unlink() if content is None else path.write_bytes(content)
    line = ends(lambda: data_of(copy))
    assert line.endswith("holds no config.yaml that can be read: say which data, with data=…")
    seen = evaluate._seen(replace(question, run_folder=copy))
    assert str(seen).startswith("whether it has seen these rows cannot be told")


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[1, 2]",
        '{"train": [0]}',
        '{"train": 5, "quiz": 5, "validation": 5, "test": 5}',
        '{"train": [99999], "quiz": [], "validation": [], "test": []}',
        '{"train": [0, 1], "quiz": [2], "validation": [3], "test": [4]}',
    ],
)
def test_splits_that_were_damaged_are_never_taken_for_the_runs_own(
    content: str | None, copy: Path, question: evaluate.Question
) -> None:
    path = copy / "splits.json"
    assert evaluate._seen(replace(question, run_folder=copy)) is None
    path.unlink() if content is None else path.write_text(content, encoding="utf-8")
    seen = evaluate._seen(replace(question, run_folder=copy))
    assert str(seen).startswith("whether it has seen these rows cannot be told")


# Clocks


def test_a_clock_that_was_set_back_says_nothing_of_the_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Sweep(jobs=3, started=time.time() + 3600).model_dump_json()
    (tmp_path / outcomes.SWEEP).write_text(text, encoding="utf-8")
    Outcome(number=0, words=["seed=0"], error="no").write(tmp_path)
    sweeps.say_progress(tmp_path)
    assert capsys.readouterr().out == "sweep: 1 of 3 jobs done, 1 failed\n"


def test_two_sweeps_of_the_same_second_do_not_share_a_folder(tmp_path: Path) -> None:
    """As after a clock was set back by an hour, when summer ends."""
    places = [outcomes.own_folder(tmp_path / "2026-10-25_02-30-00") for _ in range(3)]
    assert len(set(places)) == 3


@pytest.mark.parametrize("content", ["", "{", '{"jobs": "many"}', None])
def test_a_sweep_whose_note_was_damaged_still_ends_in_its_table(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / outcomes.SWEEP).write_text(content, encoding="utf-8")
    Outcome(number=0, words=["seed=0"], error="no such model").write(tmp_path)
    (tmp_path / "jobs" / "00001.json").write_bytes(b"\xff{")
    (tmp_path / "jobs" / "00002.json").mkdir()
    sweeps.say_progress(tmp_path)
    assert sweeps.show(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("sweep.json cannot be read: how many jobs there were is not known")
    assert lines[1].endswith("failed: no such model")


def test_a_digest_follows_a_files_content_though_its_time_is_in_the_future(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    os.utime(path, (2**32, 2**32))
    first = files.sha256_of(path)
    path.write_bytes(b"others")
    os.utime(path, (2**32, 2**32))
    assert files.sha256_of(path) != first


# Ctrl-C


def test_ctrl_c_while_the_data_is_read_is_one_line(
    compose: Callable[..., Settings], ends: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    s = compose(*QUICK, "data.seed=77")
    monkeypatch.setattr(sources, "load", interrupt)
    assert ends(lambda: experiment.train(s), code=130) == "kd_lab: interrupted"


def test_a_run_with_debug_shows_the_systems_error_whole() -> None:
    with pytest.raises(OSError, match="disk"), doors.one_line_errors(debug=True):
        raise OSError(errno.ENOSPC, "no disk")
