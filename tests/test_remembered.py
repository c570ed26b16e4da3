"""Teachers that stand still are asked once, and never answer with what is no longer true."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kd_lab import experiment, results, tensor_cache
from kd_lab.errors import UserError
from kd_lab.models import Classifier
from kd_lab.settings import Settings

Compose = Callable[..., Settings]
KD = ("method=kd", "teacher=tiny-bert", "student=tiny-distilbert", "warmup_epochs=0", "max_epochs=1")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing in it but the tiny models, which are made again."""
    monkeypatch.setenv("KD_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were asked, batch by batch."""
    names: list[str] = []
    original = Classifier.forward

    def watch(self: Classifier, batch):  # type: ignore[no-untyped-def]
        names.append(self.name)
        return original(self, batch)

    monkeypatch.setattr(Classifier, "forward", watch)
    return names


def train(compose: Compose, asked: list[str], *words: str) -> tuple[results.Result, int]:
    """The result, and how often the teacher was asked."""
    asked.clear()
    found = experiment.train(compose(*KD, *words))
    return found, asked.count("tiny-bert")


def test_a_second_run_does_not_ask_the_teacher(compose: Compose, asked: list[str]) -> None:
    first, _ = train(compose, asked)
    again, times = train(compose, asked, "force=true")
    assert times == 0
    assert again.without_times() == first.without_times()
    other, times = train(compose, asked, "method.alpha=0.7")
    assert times == 0
    assert other.student != first.student


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "knows"),
    [
        (("noise=word",), False),
        (("noise=word", "noise.teacher_sees=clean"), True),
        (("noise=labels",), True),
    ],
)
def test_it_is_asked_where_it_sees_other_sentences(
    words: tuple[str, ...], knows: bool, compose: Compose, asked: list[str]
) -> None:
    train(compose, asked)
    _, times = train(compose, asked, *words)
    assert (times == 0) == knows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "splits"),
    [("data.max_length=12", 3), ("precision=bf16-mixed", 3), ("data.seed=1", 3), ("seed=1", 0)],
)
def test_one_teacher_is_asked_anew_by_what_decides_its_answers_and_nothing_else(
    word: str, splits: int, compose: Compose, asked: list[str], own_cache: Path
) -> None:
    """A teacher from outside: one that the run makes would itself be another."""
    first = experiment.train(compose(*KD))
    teacher = f"teacher={first.folder.with_name(str(first.teachers[0].made_by))}"
    experiment.train(compose(*KD, teacher, "force=true"))
    before = set((own_cache / "logits").iterdir())
    assert len(before) == 3  # train, validation, test
    experiment.train(compose(*KD, teacher, word))
    assert len(set((own_cache / "logits").iterdir()) - before) == splits


def test_a_run_is_what_it_is_without_memory(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    first = experiment.train(compose(*KD))
    monkeypatch.setattr("kd_lab.remembered.teach", lambda *args: None)
    plain = experiment.train(compose(*KD, "force=true"))
    assert plain.student.test.loss == pytest.approx(first.student.test.loss, abs=1e-4)
    assert plain.teachers == first.teachers


def test_what_is_kept_is_what_was_made(own_cache: Path) -> None:
    made = {"a": torch.arange(6).reshape(2, 3), "b": torch.empty(0)}
    for _ in range(2):
        kept = tensor_cache.cached("things", {"k": "v"}, lambda: made)
        assert all(torch.equal(kept[name], value) for name, value in made.items())
    with pytest.raises(UserError, match="worked out"):
        tensor_cache.cached("things", {"k": "w"}, _refuse)
    assert len(list((own_cache / "things").iterdir())) == 1


def _refuse() -> dict[str, torch.Tensor]:
    raise UserError("worked out anew")
