"""In micro-batches every method has the gradient of the whole batch, the meta-step included."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer

from kd_lab import building, quiet
from kd_lab.composition import CONF, method_named
from kd_lab.data import TextDataModule
from kd_lab.gradients import gradients_of
from kd_lab.hypergradient import WAYS
from kd_lab.models import Classifier, TeacherEnsemble
from kd_lab.settings import Method

NAMES = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
CASES = [(name, None) for name in NAMES] + [("metadistil", way) for way in WAYS]


def gradients(
    method: Method,
    size: int | None,
    classifier: Callable[..., Classifier],
    data: Callable[..., TextDataModule],
    path: Path,
) -> dict[str, torch.Tensor]:
    """Of one step in float64, without dropout: by parameter's name."""
    student, members = classifier("distilbert", 0), [classifier("bert", 1), classifier("roberta", 2)]
    rows = data([student, *members], batch_size=16)
    teachers = TeacherEnsemble(members) if method.uses_teachers else None
    built = building.build(method, student, teachers, quiz=rows.quiz_batch, micro_batch_size=size)
    found: dict[str, torch.Tensor] = {}

    def keep(original: Callable[[], None]) -> Callable[[], None]:
        def move() -> None:
            named = built.named_parameters()
            found.update({name: p.grad.clone() for name, p in named if p.grad is not None and name not in found})
            original()

        return move

    built.move_student = keep(built.move_student)  # type: ignore[method-assign]
    built.move_teachers = keep(built.move_teachers)  # type: ignore[method-assign]
    bare = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False, "logger": False}
    options = {"max_steps": 1, "precision": "64-true", "accelerator": "cpu", "num_sanity_val_steps": 0}
    trainer = Trainer(default_root_dir=path, **options, **bare)  # type: ignore[arg-type]
    trainer.fit(built, rows.train_dataloader(), rows.val_dataloader())
    return found


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize(("name", "way"), CASES)
def test_micro_batches_have_the_gradient_of_the_batch(
    name: str,
    way: str | None,
    size: int,
    classifier: Callable[..., Classifier],
    toy_data: Callable[..., TextDataModule],
    tmp_path: Path,
) -> None:
    quiet.libraries()
    method = method_named(name)
    if name == "metadistil":  # beside a label loss the hypergradient would be too small to be seen
        said = method.model_dump(exclude_unset=True, by_alias=True) | {"label_loss": 0.0}
        method = Method.model_validate(said | ({"hypergradient": way} if way else {}))
    whole, parts = (gradients(method, some, classifier, toy_data, tmp_path) for some in (None, size))
    assert whole.keys() == parts.keys()
    assert any(key.startswith("teachers.") for key in whole) == (name == "metadistil")
    # The difference quotient itself is only good to some digits, whichever way the batch is cut.
    exact = 1e-6 if way == "finite_difference" else 1e-9
    for key, gradient in whole.items():
        assert (gradient - parts[key]).norm() <= exact * gradient.norm() + 1e-15, key


def test_the_graphs_of_one_part_are_in_memory_at_a_time(
    classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule], tmp_path: Path
) -> None:
    quiet.libraries()
    seen: list[int] = []
    taught: list[int] = []
    original = Classifier.forward

    def watch(self: Classifier, batch):  # type: ignore[no-untyped-def]
        if not torch.is_inference_mode_enabled():
            seen.append(len(batch))
            if self.model.config.model_type != "distilbert" and torch.is_grad_enabled():
                taught.append(len(batch))
        return original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "forward", watch)
        gradients(method_named("metadistil"), 3, classifier, toy_data, tmp_path)
    assert max(seen) == 3  # of the quiz as well, which has 4 rows
    assert taught == 10 * [3] + 2 * [1], "one graph per part and teacher"


@pytest.mark.parametrize("way", [way for way in WAYS if way != "unrolled"])
def test_of_all_parts_one_sum_of_gradients_is_in_memory(
    way: str, classifier: Callable[..., Classifier], toy_data: Callable[..., TextDataModule], tmp_path: Path
) -> None:
    quiet.libraries()
    few, many = (most_sets_alive(way, size, classifier, toy_data, tmp_path) for size in (4, 1))
    assert few == many, "sixteen rows are four parts, and sixteen"


def most_sets_alive(
    way: str, size: int, classifier: Callable[..., Classifier], data: Callable[..., TextDataModule], path: Path
) -> int:
    """Sets of gradients by parameters, at the worst moment of a meta-step."""
    found: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def watch(output: torch.Tensor, inputs: tuple[torch.Tensor, ...], *rest: Any, **options: Any) -> Any:
        made = gradients_of(output, inputs, *rest, **options)
        if len(inputs) > 1:  # by parameters, not by logits
            found.append(weakref.ref(made[0]))
            alive.append(sum(kept() is not None for kept in found))
        return made

    said = method_named("metadistil").model_dump(exclude_unset=True, by_alias=True) | {"hypergradient": way}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kd_lab.hypergradient.gradients_of", watch)
        gradients(Method.model_validate(said), size, classifier, data, path)
    assert len(found) >= 16 // size
    return max(alive)
