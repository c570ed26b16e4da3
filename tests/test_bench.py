"""The bench: what it measures is what it says, and its words are checked like all others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shell import kd_lab

from kd_lab.bench import table, variants
from kd_lab.bench.published import Published
from kd_lab.data import TextDataModule
from kd_lab.errors import UserError
from kd_lab.hypergradient import unrolled
from kd_lab.methods.metadistil import MetaDistil
from kd_lab.models import Classifier, TeacherEnsemble

TINY = ["models=tiny", "teacher=tiny-bert", "student=tiny-distilbert", "data=toy", "data.rows=200", "data.train=100"]
TINY += ["data.quiz=16", "data.validation=16", "data.test=16", "batch_size=8"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A short bench of tiny models, and what it said."""
    folder = tmp_path_factory.mktemp("bench")
    words = ["bench.rows=finetune,metadistil,published", "teacher=tiny-bert,tiny-bert+tiny-roberta"]
    done = kd_lab("bench.repeats=1", "bench.steps=1", *TINY[:1], *TINY[2:], *words, folder=folder, door="bench")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder, done.stdout


def test_it_leaves_a_table_a_file_and_a_picture(measured: tuple[Path, str]) -> None:
    folder, said = measured
    (written,) = (folder / "outputs" / "bench").glob("*.json")
    file = table.BenchFile.model_validate_json(written.read_text(encoding="utf-8"))
    names = [line.name for line in file.lines]
    assert names[0] == "finetune"
    assert names.count("finetune") == 1, "teachers mean nothing to fine-tuning"
    assert len(names) == 1 + 2 * 2
    for line in file.lines:
        assert line.milliseconds > 0
        assert line.floor is not None
        assert sum(line.parts.values()) > 0
        assert line.operations[0] > 0
        assert line.peak[0]
        assert line.row in said.partition("× floor")[2], "in the table, not in the progress before it"
    kept = {line.name: line for line in file.lines}
    teachers = "teacher=tiny-bert"
    assert "tangent" in kept[f"metadistil {teachers}"].parts
    assert kept[f"published {teachers}"].operations > kept[f"metadistil {teachers}"].operations
    (cosine,) = kept[f"metadistil {teachers}"].cosine
    assert cosine is not None
    assert cosine >= 0.999
    assert written.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_the_floor_is_of_the_passes_that_a_step_takes(tmp_path: Path) -> None:
    """The centred hypergradient takes its tangent as ``reverse_mode`` does, and ``labels`` takes none."""
    ways = ["reverse_mode", "forward_mode", "centred", "labels"]
    words = ["bench.rows=metadistil", f"method.hypergradient={','.join(ways)}", "bench.repeats=1", "bench.steps=1"]
    done = kd_lab(*TINY, *words, folder=tmp_path, door="bench")
    assert done.returncode == 0, done.stderr
    (written,) = (tmp_path / "outputs" / "bench").glob("*.json")
    lines = table.BenchFile.model_validate_json(written.read_text(encoding="utf-8")).lines
    reverse, forward, centred, labels = (line.operations[0] for line in lines)
    assert centred == reverse != forward
    assert labels == 0
    assert lines[3].floor is None


@pytest.mark.slow
def test_operations_are_of_one_update_of_the_teachers_and_the_steps_between(tmp_path: Path) -> None:
    words = ["bench.rows=kd,metadistil", "method.teacher_every=1,4", "bench.repeats=1", "bench.steps=4"]
    done = kd_lab(*TINY, *words, folder=tmp_path, door="bench")
    assert done.returncode == 0, done.stderr
    (written,) = (tmp_path / "outputs" / "bench").glob("*.json")
    lines = table.BenchFile.model_validate_json(written.read_text(encoding="utf-8")).lines
    plain, always, often = (line.operations[0] for line in lines)
    assert plain < often < always


def test_a_later_bench_is_compared_with_it(measured: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = measured
    home = folder / "outputs" / "bench"
    (written,) = home.glob("*.json")
    file = table.BenchFile.model_validate_json(written.read_text(encoding="utf-8"))
    assert table.earlier(home, file.words, None) == (written, file)
    assert table.earlier(home, [*file.words, "lr=1"], None) is None
    assert table.earlier(home, ["another=one"], written) == (written, file)
    elsewhere = json.loads(written.read_text(encoding="utf-8"))
    elsewhere["machine"]["cores"] = 4096
    other = home / "other.json"
    other.write_text(json.dumps(elsewhere), encoding="utf-8")
    assert table.earlier(home, file.words, None) == (written, file)
    other.unlink()
    slower = [line.model_copy(update={"seconds": [2 * value for value in line.seconds]}) for line in file.lines]
    table.show(file.lines, file.model_copy(update={"lines": slower}))
    assert capsys.readouterr().out.count("0.50×") == len(file.lines)
    with pytest.raises(UserError, match=r"bench.against=.*nowhere.json: should be the file of an earlier bench"):
        table.earlier(home, file.words, home / "nowhere.json")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench.rows=kd,magic"], "bench.rows.1=magic: should be 'finetune', 'kd'"),
        (["bench.steps=0"], "bench.steps=0: should be greater than or equal to 1"),
        (["bench.speed=9"], "bench.speed=9: choose one of bench.quick, bench.rows"),
        (["bench.padding=wide"], "bench.padding=wide: should be a number of tokens"),
        (["bench.rows=kd", "method.teacher_every=4"], "method.teacher_every=4: none of the rows kd takes it"),
        (["batch_size=0"], "batch_size=0: should be greater than or equal to 1"),
        (["slow"], "slow: words are name=value"),
    ],
)
def test_bad_words_are_named(words: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        variants.read([*TINY, *words])
    assert str(error.value).startswith(said)


def test_axes_multiply_and_reach_whom_they_concern() -> None:
    axes = ["method.teacher_every=1,4", "precision=float32,bf16-matmul"]
    bench, found = variants.read([*TINY, "bench.rows=finetune,metadistil,published", *axes])
    names = [variant.name for variant in found]
    assert len(names) == len(set(names)) == 2 + 4 + 1
    assert "published" in names, "whose teachers learn at every step"
    assert {v.padding for v in found if v.row == "published"} == {variants.PUBLISHED_PADDING}
    assert {v.settings.precision for v in found if v.row == "published"} == {"float32"}
    assert bench.repeats == 3


def models(classifier: Callable[..., Classifier], data: Callable[..., TextDataModule]):  # type: ignore[no-untyped-def]
    student, teacher = classifier("distilbert", 0), classifier("bert", 1)
    rows = data([student, teacher])
    return student, TeacherEnsemble([teacher]), rows


def test_the_published_step_teaches_the_teacher_the_same(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule]
) -> None:
    """It may be slow, but it is no straw man: its feedback is the unrolled hypergradient."""
    student, teachers, rows = models(classifier, toy_data)
    batch = rows.parts["train"].batch(range(6))
    same: dict[str, Any] = {"quiz": rows.quiz_batch, "inner_lr": 0.05, "quiz_batches": 2, "quiz_batch_size": 3}
    ours = MetaDistil(student, teachers, hypergradient="unrolled", **same).double()
    ours.train()
    expected = unrolled(ours.lesson(batch, ours.quiz_of(0))).gradients
    theirs = Published(student, teachers, **same).double()
    found = theirs.feedback(theirs.quiz_loss(theirs.assumed(batch), theirs.quiz_of(0)))
    norm = torch.cat([gradient.flatten() for gradient in expected]).norm()
    assert norm > 0
    assert all((a - b).norm() <= 1e-9 * norm for a, b in zip(expected, found, strict=True))


def test_quick_is_quick() -> None:
    bench, found = variants.read([*TINY, "bench.quick=true"])
    assert (bench.repeats, bench.steps) == (1, 1)
    assert [variant.row for variant in found] == list(variants.QUICK_ROWS)
    assert {variant.steps(bench) for variant in found} == {1}
