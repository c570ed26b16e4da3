"""What makes two runs the same run."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kd_lab import batching, fingerprint, planning, splits, toy
from kd_lab.errors import UserError
from kd_lab.noise import LABELS, TEXT_NOISES, Noise
from kd_lab.settings import Method, Settings

Compose = Callable[..., Settings]


def of(settings: Settings) -> str:
    return planning.plan(settings).fingerprint


def test_every_setting_either_enters_or_is_left_out() -> None:
    groups = (
        fingerprint.OF_EVERY_RUN,
        fingerprint.BY_CONTENT,
        fingerprint.OF_DISTILLATION,
        fingerprint.OF_TEACHERS,
        fingerprint.LEFT_OUT,
        ("method", "noise"),
    )
    names = [name for group in groups for name in group]
    assert sorted(names) == sorted(Settings.model_fields)


@pytest.mark.parametrize(
    "word",
    [
        "seed=1", "max_epochs=3", "patience=2", "batch_size=8", "lr=1e-4", "weight_decay=0.1", "precision=bf16-mixed",
        "micro_batch_size=4",
        "warmup_epochs=2", "noise=word", "method=kd", "method.alpha=0.4", "method.inner_lr=1e-4", "student=tiny-bert",
        "teacher=tiny-bert", "teacher=tiny-roberta+tiny-bert", "teacher_epochs=5", "teacher_finetune_lr=1e-3",
        "teacher_batch_size=8", "teacher_weight_decay=0.1",
        "teacher_train_on_quiz=true", "data.seed=1", "data.train=0.5", "data.test=20",
        "data.max_length=16", "data.rows=500", "trainer.devices=2", "trainer.num_nodes=2",
        "+models.tiny-bert.layers=1", "noise=labels",
    ],
)  # fmt: skip
def test_what_decides_a_result_enters(word: str, compose: Compose) -> None:
    assert of(compose(word)) != of(compose())


@pytest.mark.parametrize(
    "word",
    ["logger=wandb", "trainer.log_every_n_steps=3", "output_dir=elsewhere", "force=true", "debug=true", "noise.p=0.3",
     "trainer.enable_progress_bar=true", "+models.bert.revision=other"],
)  # fmt: skip
def test_what_decides_nothing_does_not(word: str, compose: Compose) -> None:
    assert of(compose(word)) == of(compose())


@pytest.mark.parametrize("word", ["teacher=nothing", "warmup_epochs=3", "teacher_epochs=9"])
def test_fine_tuning_ignores_teacher_and_warm_up(word: str, compose: Compose) -> None:
    plain = ("method=finetune", "student=tiny-bert")
    assert of(compose(*plain, word)) == of(compose(*plain))


def test_a_method_that_was_corrected_is_another_one_and_comments_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))

    def digest(source: str) -> str:
        (tmp_path / "their_method.py").write_text(source, encoding="utf-8")
        return fingerprint.source_digest(Method(name="mine", _target_="their_method.Mine"))

    first = digest('class Mine:\n    """Words."""\n    strength = 1\n')
    assert digest('class Mine:\n    """Other words."""\n    # why\n    strength = 1\n') == first
    assert digest('class Mine:\n    """Words."""\n    strength = 2\n') != first
    # Of its syntax tree as Python 3.11 writes it, whichever Python reads it.
    assert digest("class Mine:\n    def step(self):\n        return []\n").startswith("9c9e54a1e97fbf49")
    with pytest.raises(UserError, match="there is no readable class Mine"):
        fingerprint.source_digest(Method(name="mine", _target_="nowhere.Mine"))
    with pytest.raises(UserError, match="there is no readable class Other"):
        fingerprint.source_digest(Method(name="mine", _target_="their_method.Other"))


def test_noise_counts_as_far_as_it_decides_anything(compose: Compose) -> None:
    noisy = of(compose("noise=typos"))
    assert noisy != of(compose("noise=typos", "noise.p=0.200001"))
    assert noisy != of(compose("noise=typos", "noise.teacher_sees=clean"))
    assert of(compose("noise=typos", "noise.p=0")) == of(compose())
    plain = ("method=finetune", "student=tiny-bert", "noise=typos")
    assert of(compose(*plain)) == of(compose(*plain, "noise.teacher_sees=clean"))


def test_the_schema_enters(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of(compose())
    monkeypatch.setattr(fingerprint, "SCHEMA", 99)
    assert of(compose()) != before


def test_draws_are_those_of_this_schema() -> None:
    """Another draw makes other results of the same settings: raise SCHEMA with it, and write the new digest here."""
    lengths, (texts, labels) = [3 + i * 7919 % 60 for i in range(500)], toy.sentences(60)
    sizes = {"train": 20, "quiz": 5, "validation": 5, "test": 5}
    drawn = [
        batching.length_grouped(lengths, 8, 1, 2),
        [batching.quiz_positions(lengths[:40], 8, 1, number) for number in range(9)],
        [Noise(name, 0.3, 1, ["a", "b"]).sentence(text, 2, 3) for name in sorted(TEXT_NOISES) for text in texts],
        [Noise(LABELS, 0.3, 1).label(label, 2, row) for row, label in enumerate(labels)],
        [dict(splits.cut(texts, labels, sizes, holdout, 1).items()) for holdout in ("row", "sentence")],
        [texts, labels],
    ]
    digest = hashlib.sha256(json.dumps(drawn).encode()).hexdigest()
    assert (fingerprint.SCHEMA, digest[:16]) == (4, "23170032e54cb7d4")


def test_the_content_of_data_and_models_counts_and_not_where_they_lie(
    compose: Compose, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prints = []
    for name, first in (("a", "good film 0"), ("b", "good film 0"), ("c", "bad film 0")):
        folder = tmp_path_factory.mktemp(name)
        lines = [f"{first},1"] + [f"film number {i},{i % 2}" for i in range(99)]
        (folder / "rows.csv").write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
        prints.append(of(compose("data=files", f"data.path={folder / 'rows.csv'}")))
    assert prints[0] == prints[1] != prints[2]


def test_the_numbers_of_the_rows_count(compose: Compose, tmp_path: Path) -> None:
    """Noise is drawn by them, and predictions name them: a repeated row that shifts them makes another run."""
    lines = [f"film number {i},{i % 2}" for i in range(99)]
    prints = []
    for repeated in ([], [lines[0]]):
        path = tmp_path / "rows.csv"
        path.write_text("text,label\n" + "\n".join([*repeated, *lines]) + "\n", encoding="utf-8")
        prints.append(of(compose("data=files", f"data.path={path}")))
    assert prints[0] != prints[1]
